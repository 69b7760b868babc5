"""Drives `CoordinatorMachine` for its peers: events in, commands out.

Everything here runs on one event loop; the executor brings the training
thread's calls to it. There are no decisions in this file.
"""

from __future__ import annotations

import asyncio
import logging
import uuid
from functools import cached_property
from typing import TYPE_CHECKING, Protocol

from mlpeft.cluster import messages as m
from mlpeft.cluster.coordinator import messages as cm
from mlpeft.cluster.coordinator.machine import CoordinatorMachine
from mlpeft.cluster.messages import about
from mlpeft.cluster.policy import Policy
from mlpeft.cluster.validation import Versions, version_refusal, view_refusal
from mlpeft.errors import MlpeftError, RemoteProtocolError
from mlpeft.files import size_text
from mlpeft.transport.blobs.offer import Offer
from mlpeft.transport.rpc import wire
from mlpeft.transport.rpc.codec import encode_down
from mlpeft.transport.rpc.outbox import Traffic

if TYPE_CHECKING:
    from collections.abc import Sequence
    from concurrent.futures import Future

    from mlpeft.cluster.coordinator.updates import Turn
    from mlpeft.cluster.overview import Bytes
    from mlpeft.cluster.status import ClusterStatus
    from mlpeft.config import RunConfig
    from mlpeft.params import ParamTree
    from mlpeft.transport.blobs.offer import Blob
    from mlpeft.work import Shard, ShardUpdate

log = logging.getLogger("mlpeft.coordinator")

MOST_JOINS = 1024
"""Joins that are remembered until their stream opens; older ones must join again."""
LARGE_BYTES = 1 << 20
"""Fetches of blobs as large as this are logged."""
SLACK_BYTES = 16 << 20
"""What an update may have beyond theta's bytes: its per-task results."""

_LEVELS = {
    m.Level.INFO: logging.INFO,
    m.Level.WARNING: logging.WARNING,
    m.Level.ERROR: logging.ERROR,
}


class JoinRefusedError(MlpeftError):
    """A worker may not take part; the message says what mends it."""


class RoundFailedError(MlpeftError):
    """A round that cannot be completed; the message is its story."""


class UnknownWorkerError(MlpeftError):
    """Nobody of this name is connected."""


class EncodedTheta:
    """A version of theta, encoded once for all peers that need bytes."""

    def __init__(self, version: int, meta: ParamTree) -> None:
        self.message = wire.Theta(version, meta)

    @cached_property
    def frames(self) -> list[bytes]:
        """Complete gRPC messages, the same objects for every worker."""
        return list(encode_down(self.message))


class Peer(Protocol):
    """The coordinator's end of a stream of work.

    Attributes:
        traffic: What went over it.
    """

    traffic: Traffic

    def send(self, message: wire.DownMessage) -> None:
        """Send a small message soon."""
        ...

    def send_theta(self, theta: EncodedTheta) -> None:
        """Send theta soon."""
        ...

    def dismiss(self, reason: str, *, run_over: bool) -> None:
        """End the stream, after RunOver if the run is over."""
        ...


class CoordinatorDriver:
    """The coordinator, short of its transport.

    Args:
        config: The run's resolved configuration; it is what workers get.
        fingerprint: The coordinator's view of the run (`run_fingerprint`).
        versions: The coordinator's.
        offer: The files that workers may fetch.
    """

    def __init__(
        self,
        config: RunConfig,
        fingerprint: str,
        versions: Versions,
        offer: Offer | None = None,
    ) -> None:
        cluster = config.cluster
        policy = Policy(
            lost_after_s=cluster.lost_after_s,
            lease_s=cluster.lease_s,
            least_lease_s=cluster.least_lease_s,
            deadline_factor=cluster.deadline_factor,
            backup_factor=cluster.backup_factor,
            max_attempts=cluster.max_attempts,
            quarantine_after=cluster.quarantine_after,
            quarantine_s=cluster.quarantine_s,
            min_workers=cluster.min_workers,
            norm_factor=cluster.norm_factor,
            ordered_sum=config.meta_learning.aggregation == "mean",
        )
        self.config = config
        self.session = uuid.uuid4().hex[:16]
        self._config_yaml = config.to_yaml()
        self._fingerprint = fingerprint
        self.versions = versions
        self._offer = offer or Offer()
        self._machine = CoordinatorMachine(self.session, policy)
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._joins: dict[m.WorkerId, wire.JoinRequest] = {}
        self._peers: dict[m.WorkerId, Peer] = {}
        self.stopping = False
        """Whether the run is to end after the round under way."""
        self.traffic = Traffic()
        """Of all peers together; a peer's own is a part of it."""
        self._names: dict[m.WorkerId, str] = {}
        self._theta: EncodedTheta | None = None
        self._held: list[asyncio.Future[None]] = []  # updates that wait for a turn
        self._round: Future[list[ShardUpdate]] | None = None
        self._limit_bytes = SLACK_BYTES

    def invite(self, command: str) -> None:
        """Say how a worker is started, for what people are told while none is there."""
        self._machine.invite(command)

    # --- the training loop's side -----------------------------------------------------

    def submit(
        self,
        version: int,
        meta: ParamTree,
        shards: Sequence[Shard],
        result: Future[list[ShardUpdate]],
    ) -> None:
        """Open a round; `result` gets its updates, or why there are none."""
        if self._theta is None or self._theta.message.version != version:
            self._theta = EncodedTheta(version, meta)
            size = sum(leaf.nbytes for leaf in meta.values())
            self._limit_bytes = size + SLACK_BYTES
        self._round = result
        self._handle(cm.RoundOpened(version, tuple(shards), meta))

    def abandon(self, reason: str) -> None:
        """Give up the open round, if there is one."""
        self._handle(cm.RoundAbandoned(reason))
        self._settle(RoundFailedError(reason))

    def end(self, reason: str) -> None:
        """Tell everybody that the run is over."""
        self._handle(cm.RunEnded(reason))
        self._settle(RoundFailedError(reason))
        if self._timer is not None:
            self._timer.cancel()

    def status(self) -> ClusterStatus:
        """A picture of the cluster."""
        return self._machine.status(self._loop.time())

    def bytes_by_worker(self) -> dict[m.WorkerId, Bytes]:
        """What went over the connections that there are."""
        return {
            worker: peer.traffic.bytes_moved() for worker, peer in self._peers.items()
        }

    # --- the operator's side ----------------------------------------------------------

    def pause(self, reason: str) -> None:
        """Give out no more leases; shards in hand are finished."""
        self._handle(cm.PauseRequested(reason))

    def resume(self) -> None:
        """Give out leases again."""
        self._handle(cm.ResumeRequested())

    def stop_after_round(self) -> None:
        """Have the run end after the round under way, as the training loop sees it."""
        self.stopping = True
        self.resume()  # a round that is paused would not end, and the run with it

    def drain(self, worker: str, reason: str) -> None:
        """Have a worker finish the shard in hand and end its process.

        Args:
            worker: Name or id.
            reason: Told to the worker.

        Raises:
            UnknownWorkerError: If nobody of that name is connected.
        """
        self._known(worker)
        self._handle(cm.DrainRequested(worker, reason))

    def release(self, worker: str) -> None:
        """Give a quarantined worker shards again.

        Args:
            worker: Name or id.

        Raises:
            UnknownWorkerError: If nobody of that name is connected.
        """
        self._known(worker)
        self._handle(cm.ReleaseRequested(worker))

    def _known(self, worker: str) -> None:
        if not self._machine.named(worker):
            names = ", ".join(book.name for book in self.status().workers) or "nobody"
            raise UnknownWorkerError(
                f"no worker {worker!r} is connected; connected: {names}"
            )

    # --- the transport's side ---------------------------------------------------------

    def limit_bytes(self) -> int:
        """The largest update that can be right just now."""
        return self._limit_bytes

    def join(self, request: wire.JoinRequest) -> wire.JoinResponse:
        """Let a worker in.

        Raises:
            JoinRefusedError: If it has other versions.
        """
        theirs = Versions(
            request.protocol_version, request.mlpeft_version, request.mlx_version
        )
        refusal = version_refusal(self.versions, theirs)
        if refusal is not None:
            context = about(request.name)
            log.warning("worker %s refused: %s", request.name, refusal, extra=context)
            raise JoinRefusedError(refusal)
        worker = m.WorkerId(uuid.uuid4().hex[:16])
        self._joins[worker] = request
        while len(self._joins) > MOST_JOINS:
            del self._joins[next(iter(self._joins))]
        self._expect(request)
        return wire.JoinResponse(
            worker, self.session, self._config_yaml, self._offer.assets
        )

    def blob(self, request: wire.BlobRequest) -> Blob:
        """The blob that a joined worker asks for.

        Raises:
            RemoteProtocolError: If it has not joined, or the run has no such blob.
        """
        join = self._joins.get(m.WorkerId(request.worker_id))
        if join is None:
            raise RemoteProtocolError(
                f"worker id {request.worker_id[:40]!r} has not joined; join again"
            )
        blob = self._offer.blob(request.sha256)
        if blob is None:
            raise RemoteProtocolError(
                f"{join.name} asks for a file that this run does not have"
            )
        log.log(
            logging.INFO if blob.size_bytes >= LARGE_BYTES else logging.DEBUG,
            "worker %s fetches %s (%s) from byte %d on",
            join.name,
            blob.label,
            size_text(blob.size_bytes),
            request.offset,
            extra=about(join.name),
        )
        self._expect(join)
        return blob

    def fetching(self, request: wire.BlobRequest) -> None:
        """A transfer goes on."""
        join = self._joins.get(m.WorkerId(request.worker_id))
        if join is not None:
            self._expect(join)

    def _expect(self, request: wire.JoinRequest) -> None:
        self._handle(cm.WorkerExpected(request.name, request.process_id))

    def connect(self, hello: wire.Hello, peer: Peer) -> m.WorkerId:
        """A joined worker's stream is open.

        Raises:
            JoinRefusedError: If it sees the run differently.
            RemoteProtocolError: If it has not joined, or has a stream already.
        """
        worker = m.WorkerId(hello.worker_id)
        request = self._joins.pop(worker, None)
        if request is None:
            raise RemoteProtocolError(
                f"worker id {worker[:40]!r} has not joined, or has a stream; join again"
            )
        refusal = view_refusal(self._fingerprint, hello.fingerprint)
        if refusal is not None:
            context = about(request.name)
            log.warning("worker %s refused: %s", request.name, refusal, extra=context)
            raise JoinRefusedError(refusal)
        self._peers[worker] = peer
        self._names[worker] = request.name
        peer.send(wire.Welcome(self.config.cluster.heartbeat_s))
        self._handle(
            cm.WorkerJoined(
                worker,
                request.name,
                request.process_id,
                self.config.cluster.slots,
                hello.device,
            )
        )
        return worker

    def receive(self, worker: m.WorkerId, message: wire.UpMessage) -> None:
        """A message came on a worker's stream.

        Raises:
            RemoteProtocolError: If it may not come now.
        """
        match message:
            case wire.Heartbeat(progress):
                self._handle(cm.HeartbeatReceived(worker, progress))
            case wire.Update(key, version, update, fault):
                self._handle(cm.UpdateReceived(worker, key, version, update, fault))
            case wire.LeaseReturn(key, failed, reason):
                self._handle(cm.LeaseReturned(worker, key, failed, reason))
            case wire.Draining():
                self._handle(cm.WorkerDraining(worker))
            case wire.Hello():
                raise RemoteProtocolError("a second Hello on one stream")

    def upload_turn(self, worker: m.WorkerId, key: m.LeaseKey) -> Turn:
        """Whether a large update whose head has come is to be read now."""
        return self._machine.upload_turn(worker, key)

    async def hold(self, worker: m.WorkerId, key: m.LeaseKey) -> None:
        """Keep an update waiting until its turn may have come."""
        self._handle(cm.UploadHeld(worker, key))
        changed: asyncio.Future[None] = self._loop.create_future()
        self._held.append(changed)
        await asyncio.wait([changed], timeout=self.config.cluster.heartbeat_s)

    def read_on(self, worker: m.WorkerId) -> None:
        """An update that was kept waiting is read now."""
        self._handle(cm.UploadHeld(worker, None))

    def disconnect(self, worker: m.WorkerId, reason: str) -> None:
        """A worker's stream ended."""
        if self._peers.pop(worker, None) is not None:
            self._handle(cm.WorkerLeft(worker, reason))
        self._names.pop(worker, None)

    # --- events in, commands out ------------------------------------------------------

    def _handle(self, event: cm.CoordinatorEvent) -> None:
        """The only way into the state machine. A bug in it ends the round, loudly."""
        try:
            for command in self._machine.handle(event, self._loop.time()):
                self._obey(command)
        except Exception as error:
            self._settle(error)
            raise
        self._set_timer()
        if self._held and not isinstance(event, cm.UploadHeld):
            held, self._held = self._held, []
            for changed in held:
                if not changed.done():
                    changed.set_result(None)

    def _set_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        wakeup = self._machine.next_wakeup()
        self._timer = (
            None
            if wakeup is None
            else self._loop.call_at(wakeup, self._handle, m.TimePassed())
        )

    def _obey(self, command: cm.CoordinatorCommand) -> None:  # noqa: C901 - one match
        match command:
            case cm.SendTheta(worker):
                if self._theta is not None:
                    self._peers[worker].send_theta(self._theta)
            case cm.GrantLease(worker, lease):
                name = self._names[worker]
                context = about(name, lease.key)
                log.debug("%s leased to %s", lease.key, name, extra=context)
                self._peers[worker].send(wire.LeaseGrant(lease))
            case cm.RevokeLease(worker, key, reason):
                self._peers[worker].send(wire.LeaseRevocation(key, reason))
            case cm.DrainWorker(worker, reason):
                self._peers[worker].send(wire.Drain(reason))
            case cm.NotifyWorker(worker, text):
                self._peers[worker].send(wire.Notice(text))
            case cm.DismissWorker(worker, reason, run_over):
                peer = self._peers.pop(worker, None)
                if peer is not None:
                    peer.dismiss(reason, run_over=run_over)
            case cm.CompleteRound(_, updates):
                if self._round is not None:
                    result, self._round = self._round, None
                    result.set_result(list(updates))
            case cm.FailRound(_, story):
                self._settle(RoundFailedError(story))
            case m.Announce(level, text, name, key):
                log.log(_LEVELS[level], text, extra=about(name, key))

    def _settle(self, error: Exception) -> None:
        """The open round, if any, has no result but this error."""
        result, self._round = self._round, None
        if result is not None:
            result.set_exception(error)
