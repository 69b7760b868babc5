"""How many bytes may be on their way at once, over model links on a virtual clock."""

import pytest

from mlpeft.errors import RemoteProtocolError
from mlpeft.transport.rpc.window import (
    LEAST_BYTES,
    MOST_BYTES,
    TARGET_S,
    Window,
)


class ModelLink:
    """A link with a rate and a delay each way; what waits for it is never dropped."""

    def __init__(self, rate, delay_s, window=None):
        self.rate, self.delay_s = rate, delay_s
        self.window = window or Window()
        self.now = 0.0
        self.free_at = 0.0
        self.longest_s = 0.0  # a chunk was on its way
        self.acks = []

    def send(self, size_bytes):
        """Send so many bytes as the window allows; seconds until they are read."""
        start, left = self.now, size_bytes
        while left or self.acks:
            while left and self.window.is_open:
                chunk = min(left, self.window.chunk_bytes)
                left -= chunk
                marked = left == 0 or self.window.wants_mark(chunk)
                self.window.send(chunk, self.now, marked=marked)
                self.free_at = max(self.free_at, self.now) + chunk / self.rate
                arrives = self.free_at + self.delay_s
                if marked:
                    self.acks.append((arrives + self.delay_s, self.window.sent))
                self.longest_s = max(self.longest_s, arrives - self.now)
            self.now, position = self.acks.pop(0)
            self.window.acknowledge(position, self.now)
        return self.now - start


@pytest.mark.parametrize("kbit", [256, 500, 1_000, 3_000, 20_000, 1_000_000])
@pytest.mark.parametrize("delay_s", [0.0005, 0.05, 0.15, 0.3])
def test_a_link_is_used_and_no_ping_waits_for_long(kbit, delay_s):
    """At any rate, over links around the house and the world; pings get 2 s."""
    rate = kbit * 125
    link = ModelLink(rate, delay_s)
    link.send(10 * rate)  # the window has grown by then
    link.longest_s = 0.0
    took_s = link.send(20 * rate)
    assert took_s < 1.05 * 20 or link.window.size_bytes == MOST_BYTES
    assert link.longest_s < (1.1 if delay_s < 0.3 else 1.9)


def test_nothing_waits_for_long_while_the_window_grows():
    """Slow links from their first byte on."""
    for kbit in (256, 1_000, 3_000):
        link = ModelLink(kbit * 125, 0.05)
        link.send(4_200_000)
        assert link.longest_s < 1.0


def test_a_fast_link_has_the_largest_window_after_a_few_megabytes():
    link = ModelLink(1e9, 0.0002)
    link.send(40 << 20)
    assert link.window.size_bytes == MOST_BYTES


def test_a_link_that_becomes_slow_gets_a_small_window():
    link = ModelLink(1e8, 0.001)
    link.send(100 << 20)
    link.rate = 125_000
    for _ in range(4):
        link.send(4 << 20)
    assert link.window.size_bytes < 2 * TARGET_S * 125_000


def test_an_update_that_waits_for_its_turn_costs_the_window_a_moment():
    """No acknowledgement for a minute, then as before: it has grown again at once."""
    link = ModelLink(1e8, 0.0005)
    link.send(100 << 20)
    link.now += 60
    link.acks = [(at + 60, position) for at, position in link.acks]
    before = link.now
    link.send(20 << 20)
    assert link.now - before < 0.5


def test_without_a_mark_on_the_way_it_is_open():
    """Else both sides would wait for ever: there is nothing to be acknowledged."""
    window = Window()
    window.send(10 * LEAST_BYTES, 0.0, marked=False)
    assert window.is_open
    window.send(1, 0.0, marked=True)
    assert not window.is_open


@pytest.mark.parametrize("position", [0, 301, 1 << 63])
def test_an_acknowledgement_of_what_was_not_sent_is_a_broken_protocol(position):
    window = Window()
    window.send(300, 0.0, marked=True)
    window.acknowledge(200, 0.1)
    with pytest.raises(RemoteProtocolError, match="are acknowledged"):
        window.acknowledge(position, 0.2)
