"""Rounds over real TCP through a slow, long and lossy link."""

import pytest

from benchmarks.slow_link.scenario import Link, run
from benchmarks.slow_link.tun import obstacle


def test_a_slow_link_gets_rounds_done_and_a_frozen_worker_is_noticed():
    """2 Mbit/s, 100 ms there and back, 1 % loss, 1 MB of theta.

    1. Keepalive pings and heartbeats get through beside theta and the update: the
       connection never breaks, and the round takes little longer than its bytes.
    2. The status says how far they are.
    3. A worker that is stopped (SIGSTOP) while theta is on its way is still noticed.
    4. A file of the run gets through as well.
    """
    if (reason := obstacle()) is not None:
        pytest.skip(reason)
    outcome = run(Link(2e6, 0.05, 0.01), 1_000_000, freeze=True, fetch=True)
    assert outcome.connections == 1
    assert not any(outcome.failures.values())
    assert outcome.rounds_s[0] < 1.6 * outcome.ideal_s, "1.2 on a quiet machine"
    assert any("sending theta, " in wait for wait in outcome.waits)
    assert any("receiving its update, " in wait for wait in outcome.waits)
    assert outcome.noticed_s < 5
    assert outcome.breaks == 0
    assert outcome.fetch_s < 1.6 * outcome.ideal_s / 2
