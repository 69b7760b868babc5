"""Messages of coordinator and worker."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import numpy as np

from mlpeft.cluster import protocol as p
from mlpeft.cluster.coordinator.machine import CoordinatorMachine
from mlpeft.cluster.overview import Bytes, Overview, RunProgress
from mlpeft.cluster.sim.simulation import PATIENT
from mlpeft.errors import MlpeftError
from mlpeft.meta.compression import Compression
from mlpeft.transport.blobs.manifest import OfferedAsset
from mlpeft.transport.rpc import (
    blob_codec,
    codec,
    control_codec,
    enrolment_codec,
    join_codec,
    status_codec,
)
from mlpeft.transport.rpc.blob_codec import BlobRequest
from mlpeft.transport.rpc.control_codec import Action, ControlRequest
from mlpeft.transport.rpc.enrolment_codec import EnrolRequest, EnrolResponse
from mlpeft.transport.rpc.join_codec import JoinRequest, JoinResponse
from mlpeft.work import Kind, Shard, ShardUpdate, TaskSpec
from tests.fuzz.target import KEY, LIMIT, TARGETS, Target, target
from tests.transport.rpc.hostile import good_down_frames, good_frames

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable


def _joined(frames: Iterable[bytes]) -> bytes:
    """Several frames as one input: each after its length, in three bytes."""
    return b"".join(len(frame).to_bytes(3, "little") + frame for frame in frames)


def _split(data: bytes) -> list[bytes]:
    frames = []
    while len(data) > 3:
        size = int.from_bytes(data[:3], "little")
        frames.append(data[3 : 3 + size])
        data = data[3 + size :]
    return frames


@target(_joined(good_frames(KEY)[:5]))
def _worker_messages(data: bytes) -> None:
    decoder = codec.UpDecoder(lambda: LIMIT)
    for frame in _split(data):
        decoder.feed(frame)


_META = {"a": np.ones((3, 3), np.float32), "inner_state/m": np.ones(2, np.float32)}
_COMPRESSIONS = [
    *(Compression(name=name) for name in ("bf16", "int8", "topk")),
    Compression(name="powersgd", rank=1),
]


def _packed_frames(compression: Compression) -> bytes:
    shard = Shard(0, 0, Kind.TRAIN, (TaskSpec("a", 1),))
    made = compression.compress(_META, shard, ShardUpdate(0, 1, _META))
    sent = ShardUpdate(0, 1, made.packed, {"loss": np.ones(1, np.float32)})
    return _joined(codec.encode_up(p.Update(KEY, 1, sent)))


@target(*map(_packed_frames, _COMPRESSIONS))
def _packed_updates(data: bytes) -> None:
    decoder = codec.UpDecoder(lambda: LIMIT)
    for frame in _split(data):
        message = decoder.feed(frame)
        if not isinstance(message, p.Update) or message.update is None:
            continue
        for compression in _COMPRESSIONS:
            with contextlib.suppress(MlpeftError):
                compression.restore(_META, message.update)


@target(_joined(good_down_frames(KEY)[:2]), _joined(good_down_frames(KEY)[4:]))
def _coordinator_messages(data: bytes) -> None:
    decoder = codec.DownDecoder(LIMIT)
    for frame in _split(data):
        message = decoder.feed(frame)
        if isinstance(message, p.Welcome):
            assert 0.001 <= message.heartbeat_s < float("inf")


_CALLS: dict[str, tuple[Callable[[bytes], object], bytes]] = {
    "join_request": (
        join_codec.decode_join_request,
        join_codec.encode_join_request(JoinRequest(1, "0.1.0", "0.32.4", "ada", "p")),
    ),
    "join_response": (
        join_codec.decode_join_response,
        join_codec.encode_join_response(
            JoinResponse("id", "s", "run: {}", (OfferedAsset("a", "0" * 64, 9),))
        ),
    ),
    "control_request": (
        control_codec.decode_request,
        control_codec.encode_request(ControlRequest(Action.DRAIN, "ada")),
    ),
    "control_response": (
        control_codec.decode_response,
        control_codec.encode_response("done"),
    ),
    "enrol_request": (
        enrolment_codec.decode_request,
        enrolment_codec.encode_request(EnrolRequest("secret", "ada", b"request")),
    ),
    "enrol_response": (
        enrolment_codec.decode_response,
        enrolment_codec.encode_response(EnrolResponse(b"certificate", 50051)),
    ),
    "authority": (
        enrolment_codec.decode_authority,
        enrolment_codec.encode_authority(b"certificate"),
    ),
    "blob_request": (
        blob_codec.decode_request,
        blob_codec.encode_request(BlobRequest("id", "0" * 64, 7)),
    ),
    "blob_piece": (blob_codec.decode_piece, blob_codec.encode_piece(b"bytes")),
    "overview": (
        status_codec.decode_overview,
        status_codec.encode_overview(
            Overview(
                run="tiny",
                session="s",
                progress=RunProgress(5, 20, 2.5, 6.0, "0: accuracy 50 %"),
                stopping=True,
                bytes_moved=Bytes(7, 8),
                cluster=CoordinatorMachine("s", PATIENT).status(0.0),
            )
        ),
    ),
}
for _name, (_decode, _sample) in _CALLS.items():
    TARGETS[_name] = Target(_decode, (_sample,))
