"""`--local-workers N --processes`: processes that end with their coordinator."""

import os
import re
import signal
import subprocess
import time

from mlpeft.commands.steer import pause, resume
from tests.coordinator.test_end_to_end import SLOW

BOTH = ("--local-workers", "2", "--processes")
WHOLE = "--set=cluster.min_workers=2"


def started(coordinator):
    """The two processes, once both have joined, by name."""
    coordinator.wait_for("2 connected")
    said = re.findall(r"local worker (\S+) is process (\d+)", coordinator.text)
    return {name: int(pid) for name, pid in said}


def assert_gone(pid):
    """Wait for a process that is not a child of ours; its parent may not collect it."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        command = ["ps", "-o", "stat=", "-p", str(pid)]
        state = subprocess.run(command, capture_output=True, text=True, check=False)
        if not state.stdout.strip() or state.stdout.startswith("Z"):
            return
        time.sleep(0.02)
    raise AssertionError(f"process {pid} is still there")


def test_local_processes_end_in_the_bytes_of_one_process(cluster, serial_theta):
    """One is killed in the middle; it is started again, and said so.

    The run waits for it to be back, else it might be over while the process begins.
    """
    coordinator = cluster.coordinator(SLOW, WHOLE, *BOTH)
    pids = started(coordinator)
    coordinator.wait_for("leased to local-0")
    pause(coordinator=cluster.address)
    os.kill(pids["local-0"], signal.SIGKILL)
    coordinator.wait_for("local-0 was killed by SIGKILL; restarting it in 0.5 s")
    coordinator.wait_for("worker local-0 joined")
    resume(coordinator=cluster.address)
    assert coordinator.end() == 0, coordinator.text
    assert cluster.theta() == serial_theta(SLOW)
    for pid in pids.values():
        assert_gone(pid)
    assert "killing local worker" not in coordinator.text


def test_local_processes_end_with_a_coordinator_that_is_killed(cluster):
    """kill -9 tells nobody; the workers' standard input ends all the same."""
    coordinator = cluster.coordinator(SLOW, WHOLE, *BOTH)
    pids = started(coordinator)
    coordinator.signal(signal.SIGKILL)
    for pid in pids.values():
        assert_gone(pid)


def test_processes_need_a_number(cluster):
    refused = cluster.start_coordinator("--processes")
    assert refused.end() == 2
    assert "needs --local-workers N" in refused.text
