"""Small messages that travel together."""

import hypothesis.strategies as st
import pytest
from hypothesis import given

from mlpeft.cluster import protocol as p
from mlpeft.cluster.protocol import LeaseKey
from mlpeft.errors import RemoteProtocolError
from mlpeft.transport.rpc import bundles, codec
from mlpeft.transport.rpc import cluster_pb2 as pb

KEY = LeaseKey("session", 3, 2, 1)
NOTICE, DRAIN = p.Notice("a"), p.Drain("b")


def frame_of(message):
    return next(codec.encode_down(message))


def test_a_bundle_has_the_messages_in_their_order():
    sent = [NOTICE, DRAIN, p.LeaseRevocation(KEY, "late"), NOTICE]
    frames = bundles.decode(bundles.encode([frame_of(each) for each in sent]))
    decoder = codec.DownDecoder(1)
    assert [decoder.feed(frame) for frame in frames] == sent


def test_a_message_by_itself_travels_as_it_is():
    frame = frame_of(NOTICE)
    assert bundles.encode([frame]) is frame
    assert list(bundles.decode(frame)) == [frame]


def test_a_bundle_is_what_the_contract_says():
    """Written by hand, read by protobuf."""
    read = pb.CoordinatorMessage()
    read.ParseFromString(bundles.encode([frame_of(NOTICE), frame_of(DRAIN)]))
    assert [each.WhichOneof("message") for each in read.bundle] == ["notice", "drain"]


@pytest.mark.parametrize(
    ("frame", "problem"),
    [
        (b"\x5a", "without a length"),
        (b"\x5a\x05abc", "damaged at byte 0"),
        (b"\x5a\x01ab", "damaged at byte 3|without a length"),
        (b"\x5a\x02\x5a\x00", "holds another"),
        (b"\x5a\x00" * 65, "more than 64"),
    ],
)
def test_a_damaged_bundle_is_refused(frame, problem):
    with pytest.raises(RemoteProtocolError, match=problem):
        bundles.decode(frame)


@given(st.binary(max_size=200))
def test_any_bytes_give_frames_or_a_remote_protocol_error(data):
    try:
        frames = bundles.decode(b"\x5a" + data)
    except RemoteProtocolError:
        return
    assert 0 < len(frames) <= bundles.MOST_PARTS
    assert sum(map(len, frames)) + 2 * len(frames) <= 1 + len(data)
