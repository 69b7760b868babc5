"""Keeping a machine awake without leaks; `caffeinate` is faked."""

import os
import subprocess

from mlpeft.platform.wakefulness import CAFFEINATE, Caffeinated, NoSleepGuard
from mlpeft.platform.wakefulness import wakefulness as of_system


class Process:
    """A fake caffeinate process."""

    def __init__(self, *, stubborn=False):
        self.code = None
        self.stubborn = stubborn

    def poll(self):
        return self.code

    def terminate(self):
        if not self.stubborn:
            self.code = -15

    def kill(self):
        self.code = -9

    def wait(self, timeout=None):
        if self.code is None:
            raise subprocess.TimeoutExpired(CAFFEINATE, timeout)
        return self.code


class Starter:
    """A fake `subprocess.Popen`."""

    def __init__(self, *, stubborn=False):
        self.commands = []
        self.processes = []
        self._stubborn = stubborn

    def __call__(self, command, **_):
        self.commands.append(command)
        self.processes.append(Process(stubborn=self._stubborn))
        return self.processes[-1]


def test_one_process_holds_however_often_it_is_asked():
    start = Starter()
    hold = Caffeinated(start)
    hold.hold()
    hold.hold()
    assert start.commands == [[CAFFEINATE, "-i", "-w", str(os.getpid())]]
    hold.release()
    hold.release()
    assert start.processes[0].code == -15


def test_a_killed_caffeinate_is_started_again():
    start = Starter()
    hold = Caffeinated(start)
    hold.hold()
    start.processes[0].code = -9
    hold.hold()
    assert len(start.processes) == 2


def test_one_that_heeds_nothing_is_killed():
    start = Starter(stubborn=True)
    hold = Caffeinated(start)
    hold.hold()
    hold.release()
    assert start.processes[0].code == -9


def test_a_missing_caffeinate_is_logged_once(caplog):
    def missing(*_, **__):
        raise FileNotFoundError(2, "No such file or directory")

    hold = Caffeinated(missing)
    hold.hold()
    hold.hold()
    hold.release()
    assert caplog.text.count("may fall asleep") == 1


def test_only_a_mac_needs_it():
    assert isinstance(of_system("darwin"), Caffeinated)
    assert isinstance(of_system("linux"), NoSleepGuard)
