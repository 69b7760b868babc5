"""Frames as an enemy, or a broken cable, would send them."""

import hypothesis.strategies as st
import numpy as np

from mlpeft.cluster import protocol as p
from mlpeft.cluster.protocol import LeaseKey
from mlpeft.cluster.sim import TOY_SIZE
from mlpeft.transport.rpc import cluster_pb2 as pb
from mlpeft.transport.rpc import codec
from mlpeft.transport.rpc.tensors import CHUNK_BYTES
from mlpeft.work import Kind, Shard, ShardUpdate, TaskSpec

CHUNKS = st.builds(
    lambda length, data: b"\x22" + length + data,
    st.sampled_from([b"\x01", b"\xff\xff\xff\xff\x0f", b"\x80" * 9 + b"\x01"]),
    st.binary(max_size=40),
)
"""Chunks of a large message, most with another length than they say."""
HUGE = [2**31 - 1, 2**31, 2**32 - 1, 2**40, 2**62, 2**63 - 1]


class Frame(bytes):
    """Bytes whose representation is short enough for a failure's report."""

    def __repr__(self):
        return f"<{len(self)} bytes: {self[:40].hex()}>"


def update_frames(key, version=0, size=16):
    """An update of so many numbers, head and chunks."""
    loss = {"support_loss": np.zeros(2, dtype=np.float32)}
    update = ShardUpdate(key.shard, 2, {"w": np.ones(size, np.float32)}, loss)
    return list(codec.encode_up(p.Update(key, version, update)))


def good_frames(key, version=0):
    """Frames of every message that a worker may send."""
    return [
        *codec.encode_up(p.Hello("id", "cpu", "view")),
        *codec.encode_up(p.Heartbeat(((key, 3),))),
        *codec.encode_up(p.LeaseReturn(key, True, "no memory")),
        *codec.encode_up(p.Draining()),
        *codec.encode_up(p.Away("in use", 1)),
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
            message.update.key.shard = min(value, 2**32 - 1)
            message.update.key.round_id = value
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
    boasting = st.builds(
        giant,
        st.just(key),
        st.sampled_from(FIELDS),
        st.sampled_from(HUGE),
        st.binary(max_size=40),
    )
    full = Frame(pb.WorkerMessage(chunk=bytes(CHUNK_BYTES)).SerializeToString())
    made = [*spoiled(good_frames(key, version)), boasting, CHUNKS, st.just(full)]
    return st.one_of(made).map(Frame)


def down_frames(key=None):
    """One frame that a worker may get: garbage, good, spoiled, or one that boasts.

    Args:
        key: The lease that they are about.
    """
    key = key or LeaseKey("session", 1, 0, 1)
    boasting = st.builds(
        giant_theta, st.sampled_from(THETA_FIELDS), st.sampled_from(HUGE)
    )
    odd = st.sampled_from(ODD).map(welcome)
    made = [*spoiled(good_down_frames(key)), boasting, odd, CHUNKS]
    return st.one_of(made).map(Frame)


def good_down_frames(key):
    """Frames of every message that a coordinator may send."""
    shard = Shard(0, key.shard, Kind.TRAIN, (TaskSpec("line", 7),))
    messages = [
        p.Welcome(0.05),
        p.Theta(0, {"w": np.ones(TOY_SIZE, np.float32)}),
        p.Theta(1, {"w": np.ones(17_000, np.float32)}),  # with a chunk
        p.Theta(2, {"other": np.ones(3, np.float32)}),
        p.Lease(key, 0, shard, 60.0),
        p.Lease(key._replace(shard=1), 1, shard, 60.0),
        p.LeaseRevocation(key, "too slow"),
        p.Drain("for the test"),
        p.Notice("\x1b[2Jhello"),
        p.RunOver("done"),
    ]
    return [frame for message in messages for frame in codec.encode_down(message)]


THETA_FIELDS = ["size_bytes", "shape", "both", "version"]
ODD = [0.0, -0.0, -1.0, 5e-324, float("inf"), float("-inf"), float("nan")]


def giant_theta(field, value):
    """The head of a theta that announces more than there is."""
    message = pb.CoordinatorMessage()
    meta = message.theta.meta
    meta.leaves.add(name="w", dtype="float32", shape=[8])
    meta.size_bytes = 32
    match field:
        case "size_bytes":
            meta.size_bytes = value
        case "shape":
            meta.leaves[0].shape[:] = [value, value]
        case "both":
            meta.leaves[0].shape[:] = [value]
            meta.size_bytes = min(4 * value, 2**64 - 1)
        case "version":
            message.theta.version = min(value, 2**32 - 1)
    return message.SerializeToString()


def welcome(heartbeat_s):
    """A welcome that asks for heartbeats so often."""
    message = pb.CoordinatorMessage()
    message.welcome.heartbeat_s = heartbeat_s
    return message.SerializeToString()


def spoiled(frames):
    """Strategies: any bytes, one of these frames, one with a change of some kind."""
    good = st.sampled_from([Frame(each) for each in frames])
    flipped = st.builds(flip, good, st.integers(0, 2**20), st.integers(1, 255))
    cut = st.builds(lambda frame, end: frame[: end % len(frame)], good, st.integers(0))
    spliced = st.builds(
        lambda left, right, at: left[: at % len(left)] + right,
        good,
        good,
        st.integers(0),
    )
    return [st.binary(max_size=80), good, flipped, cut, spliced]


def flip(frame, at, mask):
    """The frame with some bits of one byte the other way round."""
    at %= len(frame)
    return frame[:at] + bytes([frame[at] ^ mask]) + frame[at + 1 :]
