"""The decoder against frames that nobody honest sends."""

import tracemalloc

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

from mlpeft.cluster import protocol as p
from mlpeft.cluster.protocol import LeaseKey
from mlpeft.errors import RemoteProtocolError
from mlpeft.transport.rpc import codec
from tests.transport.rpc.hostile import (
    FIELDS,
    HUGE,
    ODD,
    down_frames,
    frames,
    giant,
    welcome,
)

KEY = LeaseKey("session", 1, 0, 1)
LIMIT = 1 << 20


@given(st.lists(frames(), max_size=8))
@settings(max_examples=300, deadline=None)
def test_any_frames_give_messages_or_a_remote_protocol_error(sent):
    decoder = codec.UpDecoder(lambda: LIMIT)
    for frame in sent:
        try:
            decoder.feed(frame)
        except RemoteProtocolError:
            return


@given(st.lists(down_frames(), max_size=8))
@settings(max_examples=150, deadline=None)
def test_any_frames_from_a_coordinator_too(sent):
    decoder = codec.DownDecoder(LIMIT)
    for frame in sent:
        try:
            message = decoder.feed(frame)
        except RemoteProtocolError:
            return
        if isinstance(message, p.Welcome):
            assert 0.001 <= message.heartbeat_s < float("inf")


@pytest.mark.parametrize("heartbeat_s", ODD)
def test_a_worker_is_not_made_to_do_nothing_but_send_heartbeats(heartbeat_s):
    with pytest.raises(RemoteProtocolError, match="heartbeats every"):
        codec.DownDecoder(LIMIT).feed(welcome(heartbeat_s))


@pytest.mark.parametrize("value", HUGE)
@pytest.mark.parametrize("field", FIELDS)
def test_what_is_announced_takes_no_memory(field, value):
    """Sizes are checked before anything is allocated for them."""
    frame = giant(KEY, field, value)
    decoder = codec.UpDecoder(lambda: LIMIT)
    tracemalloc.start()
    try:
        got = decoder.feed(frame)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert got is not None
    assert got.update is None
    assert peak < LIMIT
