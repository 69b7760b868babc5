"""Frames as an enemy, or a broken cable, would send them."""

import hypothesis.strategies as st
import numpy as np

from mlpeft.cluster.messages import LeaseKey
from mlpeft.rpc import cluster_pb2 as pb
from mlpeft.rpc import codec, wire
from mlpeft.rpc.tensors import CHUNK_BYTES
from mlpeft.work import ShardUpdate

HUGE = [2**31 - 1, 2**31, 2**32 - 1, 2**40, 2**62, 2**63 - 1]


class Frame(bytes):
    """Bytes whose representation is short enough for a failure's report."""

    def __repr__(self):
        return f"<{len(self)} bytes: {self[:40].hex()}>"


def update_frames(key, version=0, size=16):
    """An update of so many numbers, head and chunks."""
    loss = {"support_loss": np.zeros(2, dtype=np.float32)}
    update = ShardUpdate(key.shard, 2, {"w": np.ones(size, np.float32)}, loss)
    return list(codec.encode_up(wire.Update(key, version, update)))


def good_frames(key, version=0):
    """Frames of every message that a worker may send."""
    return [
        *codec.encode_up(wire.Hello("id", "cpu", "view")),
        *codec.encode_up(wire.Heartbeat(((key, 3),))),
        *codec.encode_up(wire.LeaseReturn(key, True, "no memory")),
        *codec.encode_up(wire.Draining()),
        *update_frames(key, version),
        *update_frames(key, version, size=1 << 17),  # with a chunk
    ]


def giant(key, field, value, inline=b""):
    """The head of an update that announces more than there is."""
    message = pb.WorkerMessage.FromString(update_frames(key)[0])
    total = message.update.total
    match field:
        case "size_bytes":
            total.size_bytes = value
        case "shape":
            total.leaves[0].shape[:] = [value, value]
        case "both":
            total.leaves[0].shape[:] = [value]
            total.size_bytes = min(4 * value, 2**64 - 1)
        case "count":
            message.update.count = min(value, 2**32 - 1)
        case "leaves":
            for _ in range(1000):
                total.leaves.add(name="w", dtype="float32", shape=[value])
        case "lease":
            message.update.lease.shard = min(value, 2**32 - 1)
            message.update.lease.round_id = value
    total.inline = inline
    return message.SerializeToString()


FIELDS = ["size_bytes", "shape", "both", "count", "leaves", "lease"]


def frames(key=None, version=0):
    """One frame: garbage, a good one, a good one spoiled, or one that boasts.

    Args:
        key: The lease that updates answer.
        version: Theta's version that they say they started from.
    """
    key = key or LeaseKey("session", 1, 0, 1)
    good = st.sampled_from([Frame(each) for each in good_frames(key, version)])
    flipped = st.builds(flip, good, st.integers(0, 2**20), st.integers(1, 255))
    cut = st.builds(lambda frame, end: frame[: end % len(frame)], good, st.integers(0))
    spliced = st.builds(
        lambda left, right, at: left[: at % len(left)] + right,
        good,
        good,
        st.integers(0),
    )
    boasting = st.builds(
        giant,
        st.just(key),
        st.sampled_from(FIELDS),
        st.sampled_from(HUGE),
        st.binary(max_size=40),
    )
    chunk = st.builds(
        lambda length, data: b"\x22" + length + data,
        st.sampled_from([b"\x01", b"\xff\xff\xff\xff\x0f", b"\x80" * 9 + b"\x01"]),
        st.binary(max_size=40),
    )
    full = Frame(pb.WorkerMessage(chunk=bytes(CHUNK_BYTES)).SerializeToString())
    made = [st.binary(max_size=80), good, flipped, cut, spliced, boasting, chunk]
    return st.one_of(*made, st.just(full)).map(Frame)


def flip(frame, at, mask):
    """The frame with some bits of one byte the other way round."""
    at %= len(frame)
    return frame[:at] + bytes([frame[at] ^ mask]) + frame[at + 1 :]
