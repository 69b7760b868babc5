"""However a process is asked to end, it ends: closed pipes and terminals, signals."""

import os
import pty
import select
import signal
import subprocess
import sys
import time
from types import SimpleNamespace

import pytest

from mlpeft.commands.steer import stop
from mlpeft.config import RunConfig
from tests.coordinator.conftest import PATIENCE_S
from tests.coordinator.test_end_to_end import SLOW

LONG = "--set=meta_learning.num_meta_iterations=100000"


def until(condition):
    """Wait for something that another process does."""
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_run_whose_messages_nobody_reads_is_trained_to_its_end(cluster, serial_theta):
    """`mlpeft-coordinator ... 2>&1 | head`: rich would end the thread that logs."""
    coordinator = cluster.coordinator("--local-workers", "2")
    coordinator.stop_reading()
    assert coordinator.process.wait(PATIENCE_S) == 0
    assert cluster.theta() == serial_theta()


def test_a_worker_whose_messages_nobody_reads_works_on(cluster, serial_theta):
    coordinator = cluster.coordinator(SLOW)
    worker = cluster.worker("ada", "--once")
    worker.stop_reading()
    assert coordinator.end() == 0, coordinator.text
    assert worker.process.wait(PATIENCE_S) == 0
    assert cluster.theta() == serial_theta(SLOW)


def test_without_readers_a_signal_still_saves_and_ends(cluster):
    coordinator = cluster.coordinator(LONG, "--local-workers", "1")
    coordinator.stop_reading()
    until(cluster.step(6).is_dir)
    coordinator.signal(signal.SIGTERM)
    assert coordinator.process.wait(PATIENCE_S) == 130


def test_the_pipe_of_both_streams_may_close_under_a_training(cluster):
    """The exit code is the run's, not that of the line that nobody reads."""
    reading, writing = os.pipe()
    training = _train(cluster, stdout=writing, stderr=writing)
    os.close(writing)
    os.read(reading, 1)
    os.close(reading)
    assert training.wait(PATIENCE_S) == 0
    assert cluster.step(6).is_dir()


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGTERM, signal.SIGINT])
def test_a_training_that_is_asked_to_end_saves(cluster, number):
    training = _train(cluster, LONG, stderr=subprocess.DEVNULL)
    until(cluster.step(6).is_dir)
    training.send_signal(number)
    assert training.wait(PATIENCE_S) == 130


def test_a_closed_terminal_is_a_request_to_end(cluster):
    """The window goes: SIGHUP comes, and every write fails."""
    ours, theirs = pty.openpty()
    training = _train(
        cluster,
        LONG,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
        preexec_fn=_take_terminal,
    )
    os.close(theirs)

    def begun():
        if select.select([ours], [], [], 0)[0]:
            os.read(ours, 1 << 12)  # else the terminal's buffer fills up
        return cluster.step(6).is_dir()

    until(begun)
    os.close(ours)
    assert training.wait(PATIENCE_S) == 130


def _take_terminal():
    import fcntl
    import termios

    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


def test_a_second_signal_ends_a_coordinator_that_hangs(cluster):
    """Its worker is frozen: it would be waited for to hear of the end."""
    coordinator = cluster.coordinator(LONG)
    worker = cluster.worker("ada")
    coordinator.wait_for("leased to ada")
    worker.signal(signal.SIGSTOP)
    coordinator.signal(signal.SIGTERM)
    time.sleep(0.2)
    coordinator.signal(signal.SIGTERM)
    begun = time.monotonic()
    assert coordinator.end() == 130, coordinator.text
    assert time.monotonic() - begun < 10


def test_two_signals_end_a_process_whose_main_thread_is_stuck(tmp_path):
    """In a call that runs no Python, so no handler of Python's either."""
    script = (
        "import ctypes\n"
        "from mlpeft.platform import process\n"
        "process.LAST_WORDS_S = 0.1\n"
        "with process.asked_to_stop():\n"
        "    print('stuck', flush=True)\n"
        "    libc = ctypes.CDLL(None)\n"
        "    mutex = ctypes.create_string_buffer(128)\n"
        "    libc.pthread_mutex_lock(mutex)\n"
        "    libc.pthread_mutex_lock(mutex)\n"
    )
    stuck = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE)
    with stuck:
        assert stuck.stdout.readline() == b"stuck\n"
        stuck.send_signal(signal.SIGTERM)
        time.sleep(0.2)
        stuck.send_signal(signal.SIGTERM)
        assert stuck.wait(PATIENCE_S) == 130


def test_a_coordinator_killed_at_the_very_end_tells_the_workers_when_started_again(
    cluster,
):
    """All is saved; the worker still tries to connect, and does not know."""
    coordinator = cluster.coordinator("--local-workers", "1")
    assert coordinator.end() == 0, coordinator.text
    worker = cluster.worker("ada", "--once")
    worker.wait_for("waiting for the coordinator")
    again = cluster.coordinator(listen=cluster.address)
    assert worker.end() == 0, worker.text
    assert "run over: run tiny: done" in worker.text
    assert again.end() == 0, again.text
    assert "done after 6 meta-iterations" in again.text


def test_mlpeft_stop_ends_a_run_that_has_no_workers(cluster):
    coordinator = cluster.coordinator()
    stop(coordinator=cluster.address)
    assert coordinator.end() == 0, coordinator.text
    assert "--resume" not in coordinator.text


def test_a_finished_run_is_extended_to_the_bytes_of_a_longer_one(cluster, serial_theta):
    first = cluster.coordinator("--local-workers", "1")
    assert first.end() == 0, first.text
    longer = "--set=meta_learning.num_meta_iterations=8"
    second = cluster.coordinator("--resume", longer, "--local-workers", "1")
    assert second.end() == 0, second.text
    assert cluster.theta(8) == serial_theta(longer)
    kept = cluster.step(8).parents[1] / "config.yaml"
    assert RunConfig.load(kept).meta_learning.num_meta_iterations == 8


def test_a_proxy_in_the_environment_is_not_taken_on_this_machine(cluster, monkeypatch):
    """Nobody listens on port 9."""
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.setenv("grpc_proxy", "http://127.0.0.1:9")
    coordinator = cluster.coordinator()
    worker = cluster.worker("ada", "--once")
    assert coordinator.end() == 0, coordinator.text
    assert worker.end() == 0, worker.text


def _train(cluster, *changes, **streams):
    words = ["--config", "tiny.yaml", *changes]
    training = subprocess.Popen(
        [sys.executable, "-m", "mlpeft.cli", "train", *words],
        cwd=cluster.folder,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        **({"stdout": subprocess.DEVNULL} | streams),
    )
    # The cluster ends it where a test fails.
    cluster.started.append(
        SimpleNamespace(process=training, signal=training.send_signal)
    )
    return training
