"""Readings of a machine, with faked systems: none of this has run on a Mac."""

import math
import os
import time

import pytest

from mlpeft.platform.sensors import (
    LinuxSensors,
    MacSensors,
    Pressure,
    sensors,
)
from mlpeft.platform.shell import Answer

IOREG = """+-o Root  <class IORegistryEntry, id 0x100000100>
  +-o IOHIDSystem  <class IOHIDSystem, id 0x10000028f>
      {
        "HIDParameters" = {"HIDIdleTimeX"=1}
        "HIDIdleTime" = 5250000000
      }
"""
BATTERY = "Now drawing from 'Battery Power'\n -InternalBattery-0 (id=123)\t85%; disch"
MAINS = "Now drawing from 'AC Power'\n"


def answering(text, code=0, asked=None):
    def shell(command):
        if asked is not None:
            asked.append(list(command))
        return Answer(code, text)

    return shell


def test_a_mac_says_when_it_was_last_used():
    asked = []
    assert MacSensors(answering(IOREG, asked=asked)).idle_s() == 5.25
    assert asked == [["/usr/sbin/ioreg", "-c", "IOHIDSystem", "-d", "4"]]


@pytest.mark.parametrize(("text", "on_battery"), [(BATTERY, True), (MAINS, False)])
def test_a_mac_says_what_it_draws_its_power_from(text, on_battery):
    assert MacSensors(answering(text)).on_battery() is on_battery


def test_a_mac_that_answers_otherwise_says_nothing():
    for shell in (answering("what?"), answering(IOREG + BATTERY, code=127)):
        mac = MacSensors(shell, lambda: None)
        assert (mac.idle_s(), mac.on_battery(), mac.pressure()) == (None, None, None)


@pytest.mark.parametrize(
    ("state", "pressure"),
    [(0, Pressure.NOMINAL), (2, Pressure.SERIOUS), (3, Pressure.CRITICAL), (9, None)],
)
def test_a_mac_says_how_hot_it_is(state, pressure):
    assert MacSensors(answering(""), lambda: state).pressure() is pressure


@pytest.mark.skipif(os.uname().sysname == "Darwin", reason="there it has an answer")
def test_elsewhere_the_macs_call_has_no_answer():
    assert MacSensors(answering("")).pressure() is None


@pytest.fixture
def linux(tmp_path):
    """A machine with these folders and this display."""

    def make(shell=None, **environment):
        shell = shell or answering("", 127)
        return LinuxSensors(shell, environment, tmp_path / "dev", tmp_path / "supplies")

    (tmp_path / "dev" / "pts").mkdir(parents=True)
    return make


def test_linux_looks_at_terminals(linux, tmp_path):
    assert linux().idle_s() == math.inf, "nobody is logged in"
    for name, ago in (("pts/0", 100), ("tty1", 40), ("pts/ptmx", 0), ("tty0", 0)):
        path = tmp_path / "dev" / name
        path.touch()
        os.utime(path, (time.time() - ago, 0))
    assert linux().idle_s() == pytest.approx(40, abs=5)


def test_linux_with_a_display_needs_a_program_that_asks_it(linux):
    assert linux(DISPLAY=":0").idle_s() is None
    assert linux(answering("7000\n"), DISPLAY=":0").idle_s() == 7.0
    assert linux(answering("no display"), WAYLAND_DISPLAY="w").idle_s() is None


def test_linux_says_whether_a_battery_is_discharging(linux, tmp_path):
    assert linux().on_battery() is None, "the kernel says nothing of power"

    def supply(name, **files):
        folder = tmp_path / "supplies" / name
        folder.mkdir(parents=True, exist_ok=True)
        for file, text in files.items():
            (folder / file).write_text(f"{text}\n")

    supply("AC", type="Mains", online=0)
    supply("mouse", type="Battery", scope="Device", status="Discharging")
    assert linux().on_battery() is False
    supply("BAT0", type="Battery", status="Discharging")
    assert linux().on_battery() is True
    supply("BAT0", status="Charging")
    assert linux().on_battery() is False


def test_linux_does_not_say_how_hot_is_too_hot(linux):
    assert linux().pressure() is None


def test_each_system_has_its_own():
    assert isinstance(sensors("darwin"), MacSensors)
    assert isinstance(sensors("linux"), LinuxSensors)
