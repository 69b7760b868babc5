"""`--local-workers N --processes`: processes that end with their coordinator."""

import contextlib
import os
import signal
import time

from tests.coordinator.test_end_to_end import SLOW

BOTH = ("--local-workers", "2", "--processes")
WHOLE = "--set=cluster.min_workers=2"


def process_of(coordinator, name):
    return int(coordinator.wait_for(rf"local worker {name} is process (\d+)")[1])


def assert_gone(pid):
    """Wait for a process that is not a child of ours."""
    deadline = time.monotonic() + 30
    with contextlib.suppress(ProcessLookupError):
        while time.monotonic() < deadline:
            os.kill(pid, 0)
            time.sleep(0.02)
        raise AssertionError(f"process {pid} is still there")


def test_local_processes_end_in_the_bytes_of_one_process(cluster, serial_theta):
    """One is killed in the middle; it is started again, and said so."""
    coordinator = cluster.coordinator(SLOW, WHOLE, *BOTH)
    first = process_of(coordinator, "local-0")
    second = process_of(coordinator, "local-1")
    coordinator.wait_for("leased to local-0")
    os.kill(first, signal.SIGKILL)
    coordinator.wait_for("local-0 was ended by SIGKILL; started again in 0.5 s")
    assert coordinator.end() == 0, coordinator.text
    assert cluster.theta() == serial_theta(SLOW)
    for pid in (first, second):
        assert_gone(pid)
    assert "does not end" not in coordinator.text


def test_local_processes_end_with_a_coordinator_that_is_killed(cluster):
    """kill -9 tells nobody; the workers' standard input ends all the same."""
    coordinator = cluster.coordinator(SLOW, WHOLE, *BOTH)
    pids = [process_of(coordinator, name) for name in ("local-0", "local-1")]
    coordinator.wait_for("2 connected")
    coordinator.signal(signal.SIGKILL)
    for pid in pids:
        assert_gone(pid)


def test_processes_need_a_number(cluster):
    refused = cluster.start_coordinator("--processes")
    assert refused.end() == 2
    assert "needs --local-workers N" in refused.text
