"""Processes are ended, and what they leave is found."""

import signal

import pytest

from mlpeft.runtime.chaos.processes import ChildProcess

PATIENCE_S = 30.0
READY = "import sys; sys.stderr.write('listening on x: \\n'); sys.stderr.flush()\n"
SLEEPS = READY + "import time; time.sleep(600)\n"
IGNORES = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n" + SLEEPS
LEAVES_ONE = (
    "import subprocess, sys\n"
    "subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n" + READY
)


@pytest.fixture
def start(tmp_path):
    started = []

    def make(source):
        (tmp_path / "child.py").write_text(source)
        made = ChildProcess("child", "child", [], {"PYTHONPATH": str(tmp_path)})
        started.append(made)
        assert made.wait_until_ready(PATIENCE_S)
        return made

    yield make
    for process in started:
        process.kill()
        process.sweep()


def test_a_process_that_ends_when_asked_leaves_nothing(start):
    process = start(SLEEPS)
    assert process.left_behind() == 1
    assert process.end(PATIENCE_S)
    assert process.exit_code == -signal.SIGTERM
    assert process.left_behind() == 0


def test_a_stopped_process_ends_too(start):
    process = start(SLEEPS)
    process.send(signal.SIGSTOP)
    assert process.end(PATIENCE_S)


def test_one_that_does_not_end_is_killed_and_that_is_told(start):
    process = start(IGNORES)
    assert not process.end(within_s=0.2)
    assert process.exit_code == -signal.SIGKILL


def test_what_a_process_started_and_left_is_found_and_ended(start):
    process = start(LEAVES_ONE)
    assert process.end(PATIENCE_S)
    assert process.left_behind() == 1
    process.sweep()


def test_a_story_has_the_exit_code_and_the_last_words(start):
    process = start(READY + "sys.exit('no more')")
    process._popen.wait(PATIENCE_S)
    assert process.story() == "child ended with exit code 1: listening on x: | no more"
