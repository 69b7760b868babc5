"""Every message there and back, and nothing but RemoteProtocolError for garbage."""

import tracemalloc
import zlib

import hypothesis.extra.numpy as hnp
import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

from mlpeft.cluster import protocol as p
from mlpeft.cluster.coordinator.machine import CoordinatorMachine
from mlpeft.cluster.overview import Bytes, Overview, RunProgress
from mlpeft.cluster.protocol import LeaseKey, WorkerId
from mlpeft.cluster.status import (
    ClusterStatus,
    LeaseStatus,
    TransferStatus,
    WorkerStatus,
)
from mlpeft.cluster.validation import Versions
from mlpeft.errors import LocalProtocolError, RemoteProtocolError
from mlpeft.transport.rpc import checksum, codec, control_codec, join_codec
from mlpeft.transport.rpc import cluster_pb2 as pb
from mlpeft.transport.rpc.status_codec import decode_overview, encode_overview
from mlpeft.transport.rpc.tensors import BFLOAT16, CHUNK_BYTES, INLINE_BYTES
from mlpeft.work import Kind, Shard, ShardUpdate, TaskSpec
from tests.cluster.builders import policy_with

KEY = LeaseKey("session", 3, 2, 1)
SHARD = Shard(9, 2, Kind.TRAIN, (TaskSpec("linear-0", 2**64 - 1), TaskSpec("b", 0)))
LARGE = 3 * CHUNK_BYTES // 4
DTYPES = [
    "?",
    "i1",
    "u1",
    "<i2",
    "<u2",
    "<i4",
    "<u4",
    "<i8",
    "<u8",
    "<f2",
    "<f4",
    "<f8",
]
ARRAYS = st.sampled_from(DTYPES).flatmap(
    lambda dtype: hnp.arrays(
        dtype, hnp.array_shapes(min_dims=0, max_dims=3, min_side=0)
    )
)
TREES = st.dictionaries(st.text(min_size=1, max_size=20), ARRAYS, max_size=4)


def up_decoder(limit=1 << 30):
    return codec.UpDecoder(lambda: limit)


def through(decoder, frames):
    """The one message that the frames make."""
    messages = [decoder.feed(bytes(frame)) for frame in frames]
    assert all(message is None for message in messages[:-1])
    return messages[-1]


def same_tree(left, right):
    assert left.keys() == right.keys()
    for name in left:
        assert left[name].dtype == right[name].dtype
        assert left[name].shape == right[name].shape
        assert left[name].tobytes() == np.ascontiguousarray(right[name]).tobytes()


@pytest.mark.parametrize(
    "message",
    [
        p.Hello("id", "cpu", "f" * 64),
        p.Heartbeat(()),
        p.Heartbeat(((KEY, 3), (KEY._replace(shard=0), 0))),
        p.LeaseReturn(KEY, True, "no memory"),
        p.Draining(),
        p.Away("in use", 1),
        p.Away("", 2),
    ],
)
def test_what_a_worker_says_comes_through(message):
    assert through(up_decoder(), codec.encode_up(message)) == message


@pytest.mark.parametrize(
    "message",
    [
        p.Welcome(0.5),
        p.Lease(KEY, 7, SHARD, 600.0),
        p.LeaseRevocation(KEY, "the shard is in"),
        p.Drain("wanted elsewhere"),
        p.Notice("quarantined"),
        p.RunOver("done"),
    ],
)
def test_what_the_coordinator_says_comes_through(message):
    assert through(codec.DownDecoder(1 << 30), codec.encode_down(message)) == message


@given(TREES)
@settings(max_examples=60, deadline=None)
def test_any_tree_comes_through_as_theta(tree):
    got = through(codec.DownDecoder(1 << 30), codec.encode_down(p.Theta(5, tree)))
    assert got.version == 5
    same_tree(got.meta, tree)


@pytest.mark.parametrize(
    "size", [0, INLINE_BYTES // 4, INLINE_BYTES // 4 + 1, LARGE, CHUNK_BYTES]
)
def test_updates_of_any_size_come_through(size):
    """Inline, just beyond, over chunk borders that cut leaves."""
    total = {
        "a": np.arange(size, dtype=np.float32),
        "b": np.arange(size, dtype=np.float32)[::2],
        "c": np.float32(1).reshape(()),
    }
    loss = {"support_loss": np.ones(2, dtype=np.float32)}
    sent = ShardUpdate(2, 2, total, loss, otherwise="vmap: too large")
    update = p.Update(KEY, 7, sent)
    frames = list(codec.encode_up(update))
    assert all(len(frame) <= CHUNK_BYTES + 8 for frame in frames[1:])
    got = through(up_decoder(), frames)
    assert (got.key, got.version, got.fault) == (KEY, 7, "")
    assert (got.update.index, got.update.count) == (2, 2)
    assert got.update.otherwise == sent.otherwise
    same_tree(got.update.total, total)
    same_tree(got.update.per_task, loss)


def test_heartbeats_may_come_between_the_chunks_of_an_update():
    update = ShardUpdate(2, 2, {"w": np.ones(LARGE, dtype=np.float32)})
    head, *chunks = codec.encode_up(p.Update(KEY, 7, update))
    (beat,) = codec.encode_up(p.Heartbeat(()))
    decoder = up_decoder()
    assert decoder.feed(head) is None
    assert decoder.feed(chunks[0]) is None
    assert decoder.feed(beat) == p.Heartbeat(())
    got = through(decoder, chunks[1:])
    same_tree(got.update.total, update.total)


def test_chunks_are_what_protobuf_would_have_written():
    """They are written by hand; any protobuf library must be able to read them."""
    update = ShardUpdate(2, 2, {"w": np.ones(LARGE, dtype=np.float32)})
    _, chunk, *_ = codec.encode_up(p.Update(KEY, 7, update))
    message = pb.WorkerMessage()
    message.ParseFromString(chunk)
    assert len(message.chunk) == CHUNK_BYTES
    assert message.SerializeToString() == chunk
    assert pb.CoordinatorMessage(chunk=b"x").SerializeToString()[:1] == chunk[:1]


def test_bfloat16_travels_as_its_bits():
    words = np.array([0x3F80, 0xC000], dtype="<u2")  # 1 and -2
    tree = {"w": words.view(BFLOAT16)}
    got = through(codec.DownDecoder(1 << 20), codec.encode_down(p.Theta(0, tree)))
    assert got.meta["w"]["bfloat16"].tolist() == [0x3F80, 0xC000]
    with pytest.raises(TypeError):
        got.meta["w"] + got.meta["w"]


def test_big_endian_arrays_travel_as_little_endian():
    tree = {"w": np.array([1, 2], dtype=">f4")}
    got = through(codec.DownDecoder(1 << 20), codec.encode_down(p.Theta(0, tree)))
    assert got.meta["w"].tolist() == [1, 2]


def test_arrays_of_objects_do_not_travel():
    with pytest.raises(LocalProtocolError, match="cannot send arrays of dtype object"):
        list(codec.encode_down(p.Theta(0, {"w": np.array([{}])})))


def update_head(**changes):
    """The head of an update with one inline leaf of 8 bytes, changed."""
    update = ShardUpdate(2, 1, {"w": np.ones(2, dtype=np.float32)})
    (frame,) = codec.encode_up(p.Update(KEY, 7, update))
    message = pb.WorkerMessage.FromString(frame)
    for name, value in changes.items():
        match name:
            case "dtype":
                message.update.total.leaves[0].dtype = value
            case "shape":
                message.update.total.leaves[0].shape[:] = value
            case "twice":
                message.update.total.leaves.append(message.update.total.leaves[0])
            case _:
                setattr(message.update.total, name, value)
    return message.SerializeToString()


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"crc32": 1}, "damaged in transit"),
        ({"inline": b"12345678"}, "damaged in transit"),
        ({"inline": b"1234"}, "comes with 4 inline"),
        ({"size_bytes": 9}, "have 8 bytes, expected 9"),
        ({"size_bytes": 1 << 40}, "expected at most 1024"),
        ({"dtype": "complex64"}, "unknown dtype 'complex64'"),
        ({"shape": [3]}, "have 12 bytes"),
        ({"shape": [1] * 17}, "17 axes"),
        ({"twice": True}, "the same name"),
    ],
)
def test_a_damaged_update_is_told_with_its_lease(changes, reason):
    decoder = up_decoder(limit=1024)
    got = decoder.feed(update_head(**changes))
    assert (got.key, got.update) == (KEY, None)
    assert reason in got.fault
    assert decoder.feed(update_head()).fault == ""


def test_the_chunks_of_a_refused_update_are_passed_over():
    update = ShardUpdate(2, 1, {"w": np.ones(LARGE, dtype=np.float32)})
    head, *chunks = codec.encode_up(p.Update(KEY, 7, update))
    decoder = up_decoder(limit=1000)
    assert "at most 1000" in decoder.feed(head).fault
    assert [decoder.feed(chunk) for chunk in chunks] == [None] * len(chunks)
    small = ShardUpdate(2, 1, {"w": np.ones(INLINE_BYTES + 1, dtype=np.int8)})
    decoder._limit_bytes = lambda: INLINE_BYTES + 1
    got = through(decoder, codec.encode_up(p.Update(KEY, 7, small)))
    assert got.fault == ""


def test_one_chunk_too_many_or_one_flipped_bit_spoils_an_update():
    update = ShardUpdate(2, 1, {"w": np.ones(LARGE + 10, dtype=np.float32)})
    head, *chunks = codec.encode_up(p.Update(KEY, 7, update))
    spoiled = chunks[-1][:-1] + bytes([chunks[-1][-1] ^ 1])
    got = through(up_decoder(), [head, *chunks[:-1], spoiled])
    assert "damaged in transit" in got.fault
    got = through(up_decoder(), [head, *chunks[:-1], chunks[0]])
    assert "got 1048576 bytes of a group, expected at most 40" in got.fault


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (b"\xff\xff", "are no WorkerMessage"),
        (b"", "kind None"),
        (b"\x22\x03ab", "says 3 bytes and has 2"),
        (b"\x22", "without a length"),
        (b"\x22" + b"\xff" * 6, "without a length"),
        (b"\x22\x02ab", "belongs nowhere"),
    ],
)
def test_what_is_no_message_raises(frame, message):
    with pytest.raises(RemoteProtocolError, match=message):
        up_decoder().feed(frame)


def test_a_lease_of_an_unknown_kind_or_without_tasks_raises():
    good = pb.CoordinatorMessage.FromString(
        next(codec.encode_down(p.Lease(KEY, 7, SHARD, 1.0)))
    )
    good.lease.kind = "steal"
    with pytest.raises(RemoteProtocolError, match="kind 'steal'"):
        codec.DownDecoder(1).feed(good.SerializeToString())
    good.lease.kind = "train"
    del good.lease.tasks[:]
    with pytest.raises(RemoteProtocolError, match="without tasks"):
        codec.DownDecoder(1).feed(good.SerializeToString())


def test_a_theta_beyond_the_limit_or_damaged_raises():
    tree = {"w": np.ones(100, dtype=np.float32)}
    (frame,) = codec.encode_down(p.Theta(0, tree))
    with pytest.raises(RemoteProtocolError, match="expected at most 399"):
        codec.DownDecoder(399).feed(frame)
    at = frame.index(b"\x00\x00\x80\x3f")
    damaged = frame[:at] + b"\x01" + frame[at + 1 :]
    with pytest.raises(RemoteProtocolError, match="damaged in transit"):
        codec.DownDecoder(400).feed(damaged)


FRAMES = [
    *codec.encode_up(p.Hello("id", "cpu", "f")),
    *codec.encode_up(p.Heartbeat(((KEY, 3),))),
    *codec.encode_up(
        p.Update(KEY, 7, ShardUpdate(2, 1, {"w": np.ones(INLINE_BYTES, np.int8)}))
    ),
    *codec.encode_up(
        p.Update(KEY, 7, ShardUpdate(2, 1, {"w": np.ones(1 << 17, np.int8)}))
    ),
    *codec.encode_down(p.Lease(KEY, 7, SHARD, 1.0)),
    *codec.encode_down(p.Theta(1, {"w": np.ones(1 << 17, np.int8)})),
]


@given(
    st.lists(
        st.one_of(
            st.binary(max_size=60),
            st.sampled_from(FRAMES),
            st.tuples(
                st.sampled_from(FRAMES), st.integers(0, 90), st.binary(max_size=3)
            ),
        ),
        max_size=6,
    )
)
@settings(max_examples=300, deadline=None)
def test_any_frames_in_any_order_give_messages_or_a_remote_protocol_error(frames):
    """Garbage, good frames out of order, and good frames with bytes changed."""
    for decoder in (up_decoder(1 << 20), codec.DownDecoder(1 << 20)):
        for frame in frames:
            if isinstance(frame, tuple):
                good, at, patch = frame
                data = good[:at] + patch + good[at + len(patch) :]
            else:
                data = frame
            try:
                decoder.feed(data)
            except RemoteProtocolError:
                break


@given(st.binary(max_size=80))
@settings(max_examples=100, deadline=None)
def test_any_bytes_are_a_call_or_a_remote_protocol_error(data):
    for decode in (
        join_codec.decode_join_request,
        join_codec.decode_join_response,
        decode_overview,
        control_codec.decode_request,
        control_codec.decode_response,
    ):
        try:
            decode(data)
        except RemoteProtocolError:
            continue


def test_joins_come_through():
    request = join_codec.JoinRequest(1, "0.1.0", "0.32.4", "ada", "process")
    assert (
        join_codec.decode_join_request(join_codec.encode_join_request(request))
        == request
    )
    response = join_codec.JoinResponse("id", "session", "run: {name: x}\n")
    assert (
        join_codec.decode_join_response(join_codec.encode_join_response(response))
        == response
    )


@pytest.mark.parametrize("version", [None, 0, 5])
def test_a_status_comes_through(version):
    status = ClusterStatus(
        rounds_opened=3,
        version=version,
        shards_in=1,
        shards=4,
        workers=(
            WorkerStatus(WorkerId("i"), "ada", "cpu", 2, 1, 7, 1, None, 0.5, True, ""),
            WorkerStatus(
                *(WorkerId("j"), "bob", "cpu", 2, 1, 7, 1, None, 0.5, True, ""),
                sending=TransferStatus(0, 4_200_000),
                receiving=TransferStatus(1, 2),
                away="in use",
            ),
        ),
        leases=(
            LeaseStatus(KEY, "ada", WorkerId("i"), 1.5, 1, 2, 0.5, 60.0, True, False),
        ),
        wait="round 3: ...",
        counted=9,
        refused=2,
        backups=5,
        failures={"lost": 3, "late": 0},
        paused="lunch",
        audits={"agreed": 4},
        late={"counted": 6, "dropped": 1},
    )
    overview = Overview(
        run="tiny",
        session="s",
        progress=RunProgress(5, 20, 2.5, 6.0, "0: accuracy 50 %", "some otherwise"),
        stopping=True,
        bytes_moved=Bytes(7, 8),
        cluster=status,
        bytes_by_worker={WorkerId("i"): Bytes(1, 2), WorkerId("j"): Bytes(3, 4)},
        clock_s=1764000000.25,
        versions=Versions(1, "0.1.0", "0.32.4"),
    )
    assert decode_overview(encode_overview(overview)) == overview


def test_what_is_not_known_of_a_run_is_none_on_the_other_side():
    progress = RunProgress(5, 20, None, None)
    nothing = CoordinatorMachine("s", policy_with()).status(0.0)
    overview = Overview("run", "s", progress, False, Bytes(), nothing)
    again = decode_overview(encode_overview(overview))
    assert again.progress == progress
    assert again.versions is None


def test_the_frames_of_theta_are_made_as_they_are_sent_and_shared_by_who_is_in_step():
    """Theta of 20 chunks takes memory for a few of them beside itself."""
    meta = {"w": np.arange(20 * CHUNK_BYTES // 4, dtype=np.float32)}
    theta = p.Theta(3, meta)
    frames = codec.encode_theta(theta)
    assert list(frames) == list(codec.encode_down(theta))
    ahead, behind = iter(frames), iter(frames)
    for _ in range(5):
        last = next(ahead)
    for _ in range(5):
        same = next(behind)
    assert same is last
    tracemalloc.start()
    assert sum(1 for _ in frames) == 21
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 12 * CHUNK_BYTES


def test_the_checksum_is_that_of_the_contract_whichever_library_computes_it():
    """`zlib.crc32`, of a whole and of parts; ISA-L's where it is installed."""
    data = bytes(range(256)) * 999
    assert checksum.crc32(data) == zlib.crc32(data)
    assert checksum.crc32(data[7:], checksum.crc32(data[:7])) == zlib.crc32(data)


def test_groups_with_leaves_alike_but_for_a_dtype_are_kept_apart():
    """What is known of a group's leaves is kept from one message to the next."""
    decoder = codec.DownDecoder(1 << 20)
    for dtype in ("<f4", "<i4", "<u4", "<f4"):
        sent = p.Theta(1, {"w": np.arange(6).astype(dtype).reshape(2, 3)})
        (frame,) = codec.encode_down(sent)
        got = decoder.feed(frame)
        assert got.meta["w"].dtype == dtype
        assert got.meta["w"].tobytes() == sent.meta["w"].tobytes()
