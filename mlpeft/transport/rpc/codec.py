"""Messages of the stream of work to bytes and back.

The codecs (this, `*_codec`, `parsing`) alone see the generated classes.

What is sent is encoded to complete gRPC messages (frames), so that the same frames can
go to every worker. What is received is checked before it is believed: a frame that is
not what the contract says raises RemoteProtocolError.

Chunks are in `chunks`. A decoder counts their bytes, whatever becomes of them, and says
when they are to be acknowledged.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import TYPE_CHECKING, assert_never

from mlpeft.cluster import protocol
from mlpeft.errors import RemoteProtocolError
from mlpeft.transport.rpc import chunks
from mlpeft.transport.rpc import cluster_pb2 as pb
from mlpeft.transport.rpc.arriving import ChunkReader, Pending, group_of
from mlpeft.transport.rpc.parsing import (
    decode_key,
    encode_key,
    identifier,
    parse,
    text,
)
from mlpeft.transport.rpc.tensors import (
    KEPT_LAYOUTS,
    Group,
    LeafSpec,
    layout_of,
)
from mlpeft.work import Kind, Shard, ShardUpdate, TaskSpec

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from mlpeft.cluster.protocol import LeaseKey
    from mlpeft.params import Array

LEAST_HEARTBEAT_S = 1e-3
"""Seconds between a worker's heartbeats, at least."""
MOST_LEASES = 256
"""Leases that a heartbeat tells of, at most."""
MOST_NOTICE = 2000
"""Characters of a text of the coordinator for the people at a worker."""


# --- frames to send -------------------------------------------------------------------


def encode_up(  # noqa: C901 - one exhaustive match
    message: protocol.WorkerMessage | protocol.Acknowledgement,
) -> Iterator[bytes]:
    """The frames of a worker's message."""
    out = pb.WorkerMessage()
    groups: list[Group] = []
    match message:
        case protocol.Hello():
            out.hello.worker_id = message.worker_id
            out.hello.device = message.device
            out.hello.fingerprint = message.fingerprint
        case protocol.Heartbeat():
            out.heartbeat.SetInParent()
            for key, tasks_done in message.progress:
                out.heartbeat.progress.add(key=encode_key(key), tasks_done=tasks_done)
        case protocol.Update(key, version, update):
            out.update.key.CopyFrom(encode_key(key))
            out.update.version = version
            if update is not None:
                groups = [Group(update.total), Group(update.per_task)]
                out.update.count = update.count
                out.update.total.CopyFrom(_group(groups[0]))
                out.update.per_task.CopyFrom(_group(groups[1]))
                out.update.otherwise = update.otherwise
        case protocol.LeaseReturn(key, failed, reason):
            out.lease_return.key.CopyFrom(encode_key(key))
            out.lease_return.failed = failed
            out.lease_return.reason = reason
        case protocol.Draining():
            out.draining.SetInParent()
        case protocol.Away(reason, change):
            out.away.reason = reason
            out.away.change = change
        case protocol.Acknowledgement(read_bytes):
            out.acknowledgement.read_bytes = read_bytes
        case _:
            assert_never(message)
    yield out.SerializeToString()
    for group in groups:
        yield from chunks.frames_of(group)


def encode_down(  # noqa: C901 - one match
    message: protocol.CoordinatorMessage | protocol.Acknowledgement,
) -> Iterator[bytes]:
    """The frames of a coordinator's message."""
    out = pb.CoordinatorMessage()
    groups: list[Group] = []
    match message:
        case protocol.Welcome(heartbeat_s):
            out.welcome.heartbeat_s = heartbeat_s
        case protocol.Theta():
            groups = [Group(message.meta)]
            out.theta.CopyFrom(_theta(message, groups[0]))
        case protocol.Lease(key, version, shard, lease_s):
            out.lease.key.CopyFrom(encode_key(key))
            out.lease.version = version
            out.lease.lease_s = lease_s
            out.lease.round = shard.round
            out.lease.kind = shard.kind.value
            for task in shard.tasks:
                out.lease.tasks.add(task_id=task.task_id, seed=task.seed)
        case protocol.LeaseRevocation(key, reason):
            out.lease_revocation.key.CopyFrom(encode_key(key))
            out.lease_revocation.reason = reason
        case protocol.Drain(reason):
            out.drain.reason = reason
        case protocol.Notice(text):
            out.notice.text = text
        case protocol.RunOver(reason):
            out.run_over.reason = reason
        case protocol.Acknowledgement(read_bytes):
            out.acknowledgement.read_bytes = read_bytes
        case _:
            assert_never(message)
    yield out.SerializeToString()
    for group in groups:
        yield from chunks.frames_of(group)


def encode_theta(message: protocol.Theta) -> chunks.SharedFrames:
    """Theta's frames, as from `encode_down`, for any number of streams."""
    group = Group(message.meta)
    out = pb.CoordinatorMessage(theta=_theta(message, group))
    return chunks.SharedFrames(out.SerializeToString(), group)


def _theta(message: protocol.Theta, group: Group) -> pb.Theta:
    return pb.Theta(version=message.version, meta=_group(group), base=message.base)


def _group(group: Group) -> pb.TensorGroup:
    out = pb.TensorGroup()
    out.CopyFrom(_described(group.spec.leaves))
    out.crc32 = group.spec.crc32
    out.inline = group.inline()
    return out


@lru_cache(KEPT_LAYOUTS)
def _described(leaves: tuple[LeafSpec, ...]) -> pb.TensorGroup:
    """The part of a group that is the same in all messages of a run; not to change."""
    return pb.TensorGroup(
        leaves=[
            pb.Leaf(name=leaf.name, dtype=leaf.dtype, shape=leaf.shape)
            for leaf in leaves
        ],
        size_bytes=layout_of(leaves).size_bytes,
    )


# --- frames that came -----------------------------------------------------------------


class UpDecoder(ChunkReader):
    """Reads what one worker sends, frame after frame.

    Args:
        limit_bytes: Says how large an update may be just now.
    """

    def __init__(self, limit_bytes: Callable[[], int]) -> None:
        super().__init__()
        self._limit_bytes = limit_bytes
        self._pending: tuple[Pending, pb.Update] | None = None
        self._discarding = False  # the chunks of an update whose head was refused

    def feed(  # noqa: PLR0911 - one match
        self, frame: bytes
    ) -> protocol.WorkerMessage | protocol.Acknowledgement | None:
        """The message that this frame completes, if any.

        Raises:
            RemoteProtocolError: If the frame cannot be understood. What is wrong with
                an update is told in its `fault` instead, since its lease is known.
        """
        chunk = self.data_of(frame)
        if chunk is not None:
            return self._chunk(chunk)
        message = parse(pb.WorkerMessage, frame)
        match message.WhichOneof("message"):
            case "hello":
                hello = message.hello
                return protocol.Hello(
                    identifier("a worker id", hello.worker_id),
                    text(hello.device),
                    identifier("a fingerprint", hello.fingerprint),
                )
            case "heartbeat":
                if len(message.heartbeat.progress) > MOST_LEASES:
                    raise RemoteProtocolError(
                        f"a heartbeat about {len(message.heartbeat.progress)} leases, "
                        f"expected at most {MOST_LEASES}"
                    )
                return protocol.Heartbeat(
                    tuple(
                        (decode_key(entry.key), entry.tasks_done)
                        for entry in message.heartbeat.progress
                    )
                )
            case "update":
                return self._update(message.update)
            case "lease_return":
                back = message.lease_return
                return protocol.LeaseReturn(
                    decode_key(back.key), back.failed, text(back.reason)
                )
            case "draining":
                return protocol.Draining()
            case "away":
                return protocol.Away(message.away.reason, message.away.change)
            case "acknowledgement":
                return protocol.Acknowledgement(message.acknowledgement.read_bytes)
            case other:
                raise RemoteProtocolError(f"a message of kind {other} is not known")

    @property
    def incoming(self) -> LeaseKey | None:
        """The lease of the update whose chunks are on their way, if there is one."""
        return None if self._pending is None else decode_key(self._pending[1].key)

    @property
    def progress(self) -> tuple[int, int]:
        """Bytes of the incoming update that have come, and bytes in all."""
        return (0, 0) if self._pending is None else self._pending[0].progress

    def skip(self, reason: str) -> protocol.Update:
        """Pass over the chunks of the incoming update, and give it without arrays."""
        assert self._pending is not None, "no update is incoming"  # noqa: S101 - ours
        (_, head), self._pending = self._pending, None
        self._discarding = True
        return protocol.Update(decode_key(head.key), head.version, None, reason)

    def _update(self, head: pb.Update) -> protocol.Update | None:
        if self._pending is not None:
            raise RemoteProtocolError("an update began before the last was complete")
        self._discarding = False
        limit = self._limit_bytes()
        try:
            specs = [group_of(head.total, limit), group_of(head.per_task, limit)]
            pending = Pending(specs, lambda trees: _shard_update(head, trees))
        except RemoteProtocolError as error:
            self._discarding = True
            return _faulty(head, error)
        return self._settle(pending, head)

    def _chunk(self, data: memoryview) -> protocol.Update | None:
        if self._discarding:
            return None
        if self._pending is None:
            raise RemoteProtocolError(f"a chunk of {len(data)} bytes belongs nowhere")
        pending, head = self._pending
        try:
            pending.feed(data)
        except RemoteProtocolError as error:
            self._pending, self._discarding = None, True
            return _faulty(head, error)
        return self._settle(pending, head)

    def _settle(self, pending: Pending, head: pb.Update) -> protocol.Update | None:
        """The update if it is complete; else remember it."""
        if not pending.is_complete:
            self._pending = (pending, head)
            return None
        self._pending = None
        try:
            return protocol.Update(decode_key(head.key), head.version, pending.result())
        except RemoteProtocolError as error:
            return _faulty(head, error)


class DownDecoder(ChunkReader):
    """Reads what the coordinator sends, frame after frame.

    A theta that begins before the last is complete replaces it.

    Args:
        limit_bytes: Largest theta that is accepted.
    """

    def __init__(self, limit_bytes: int) -> None:
        super().__init__()
        self._limit_bytes = limit_bytes
        self._pending: Pending | None = None

    @property
    def is_receiving(self) -> bool:
        """Whether a theta has begun to come and is not complete."""
        return self._pending is not None

    def feed(  # noqa: C901, PLR0911 - one match
        self, frame: bytes
    ) -> protocol.CoordinatorMessage | protocol.Acknowledgement | None:
        """The message that this frame completes, if any.

        Raises:
            RemoteProtocolError: If the frame cannot be understood, or theta is damaged.
        """
        chunk = self.data_of(frame)
        if chunk is not None:
            if self._pending is None:
                raise RemoteProtocolError(f"a chunk of {len(chunk)} bytes is homeless")
            self._pending.feed(chunk)
            return self._settle(self._pending)
        message = parse(pb.CoordinatorMessage, frame)
        match message.WhichOneof("message"):
            case "welcome":
                return _welcome(message.welcome)
            case "theta":
                return self._theta(message.theta)
            case "lease":
                return _lease(message.lease)
            case "lease_revocation":
                revoked = message.lease_revocation
                return protocol.LeaseRevocation(
                    decode_key(revoked.key), text(revoked.reason, MOST_NOTICE)
                )
            case "drain":
                return protocol.Drain(text(message.drain.reason, MOST_NOTICE))
            case "notice":
                return protocol.Notice(text(message.notice.text, MOST_NOTICE))
            case "run_over":
                return protocol.RunOver(text(message.run_over.reason, MOST_NOTICE))
            case "acknowledgement":
                return protocol.Acknowledgement(message.acknowledgement.read_bytes)
            case other:
                raise RemoteProtocolError(f"a message of kind {other} is not known")

    def _theta(self, head: pb.Theta) -> protocol.Theta | None:
        groups = [group_of(head.meta, self._limit_bytes)]
        version, base = head.version, head.base if head.HasField("base") else None
        return self._settle(
            Pending(groups, lambda trees: protocol.Theta(version, dict(trees[0]), base))
        )

    def _settle(self, pending: Pending) -> protocol.Theta | None:
        self._pending = None if pending.is_complete else pending
        if self._pending is not None:
            return None
        theta: protocol.Theta = pending.result()
        return theta


def _welcome(welcome: pb.Welcome) -> protocol.Welcome:
    heartbeat_s = welcome.heartbeat_s
    # Not so for NaN either. A worker that takes 0 would do nothing but send them.
    if not LEAST_HEARTBEAT_S <= heartbeat_s < math.inf:
        raise RemoteProtocolError(
            f"heartbeats every {heartbeat_s} s are asked for; expected at least "
            f"{LEAST_HEARTBEAT_S}"
        )
    return protocol.Welcome(heartbeat_s)


def _lease(lease: pb.Lease) -> protocol.Lease:
    try:
        kind = Kind(lease.kind)
    except ValueError as error:
        raise RemoteProtocolError(f"a shard of kind {lease.kind[:40]!r}") from error
    if not lease.tasks:
        raise RemoteProtocolError("a shard without tasks")
    tasks = tuple(TaskSpec(task.task_id, task.seed) for task in lease.tasks)
    shard = Shard(lease.round, lease.key.shard, kind, tasks)
    return protocol.Lease(decode_key(lease.key), lease.version, shard, lease.lease_s)


def _shard_update(head: pb.Update, trees: list[Mapping[str, Array]]) -> ShardUpdate:
    total, per_task = map(dict, trees)
    return ShardUpdate(
        head.key.shard,
        head.count,
        total,
        per_task,
        owned=True,
        otherwise=text(head.otherwise),
    )


def _faulty(head: pb.Update, error: RemoteProtocolError) -> protocol.Update:
    return protocol.Update(decode_key(head.key), head.version, None, str(error))
