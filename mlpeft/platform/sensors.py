"""What a machine says of its owner, its power and its heat.

None of the readings of macOS has been tried on a Mac: the commands and calls follow
Apple's documentation, and tests fake their answers. None stands for "it does not say".
"""

from __future__ import annotations

import ctypes
import math
import os
import re
import sys
import time
from enum import IntEnum
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol

from mlpeft.platform import shell as system_shell

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from mlpeft.platform.shell import Shell

IOREG: Final = ("/usr/sbin/ioreg", "-c", "IOHIDSystem", "-d", "4")
PMSET: Final = "/usr/bin/pmset"
NANOSECONDS: Final = 1e9
MILLISECONDS: Final = 1e3


class Pressure(IntEnum):
    """Thermal pressure, as `NSProcessInfo.thermalState`."""

    NOMINAL = 0
    FAIR = 1
    SERIOUS = 2
    CRITICAL = 3


class Sensors(Protocol):
    """Readings of a machine; None: it does not say."""

    def idle_s(self) -> float | None:
        """Seconds since the last key or pointer was touched."""
        ...

    def on_battery(self) -> bool | None:
        """Whether it draws from its battery."""
        ...

    def pressure(self) -> Pressure | None:
        """How hot it is."""
        ...


class MacSensors:
    """Readings of macOS.

    Args:
        shell: Runs the system's commands.
        thermal_state: Reads `NSProcessInfo.thermalState`.
    """

    def __init__(
        self,
        shell: Shell = system_shell.run,
        thermal_state: Callable[[], int | None] | None = None,
    ) -> None:
        self._shell = shell
        self._thermal_state = thermal_state or _thermal_state

    def idle_s(self) -> float | None:
        """See `Sensors`. HIDIdleTime of IOHIDSystem, in nanoseconds."""
        found = re.search(r'"HIDIdleTime" = (\d+)', self._output(*IOREG))
        return int(found[1]) / NANOSECONDS if found else None

    def on_battery(self) -> bool | None:
        """See `Sensors`. A Mac without a battery draws from AC power, too."""
        output = self._output(PMSET, "-g", "batt")
        found = re.search(r"drawing from '(\w+) Power'", output)
        return found[1] in {"Battery", "UPS"} if found else None

    def pressure(self) -> Pressure | None:
        """See `Sensors`."""
        state = self._thermal_state()
        if state is None or state not in set(Pressure):
            return None
        return Pressure(state)

    def _output(self, *command: str) -> str:
        answer = self._shell(command)
        return answer.text if answer.code == 0 else ""


class LinuxSensors:
    """Readings of Linux.

    Args:
        shell: Runs the system's commands.
        environment: Of this process; says whether there is a display.
        devices: The folder of terminals.
        supplies: The kernel's folder of power supplies.
    """

    def __init__(
        self,
        shell: Shell = system_shell.run,
        environment: Mapping[str, str] = os.environ,
        devices: Path = Path("/dev"),
        supplies: Path = Path("/sys/class/power_supply"),
    ) -> None:
        self._shell = shell
        self._environment = environment
        self._devices = devices
        self._supplies = supplies

    def idle_s(self) -> float | None:
        """See `Sensors`. Terminals, and the display by `xprintidle`."""
        idle_s = self._terminals_s()
        if {"DISPLAY", "WAYLAND_DISPLAY"} & self._environment.keys():
            answer = self._shell(["xprintidle"])
            if answer.code != 0 or not answer.text.strip().isdecimal():
                return None
            idle_s = min(idle_s, int(answer.text) / MILLISECONDS)
        return idle_s

    def _terminals_s(self) -> float:
        """Since a key was pressed in a terminal; inf: there is none."""
        newest = -math.inf
        for pattern in ("pts/[0-9]*", "tty[1-9]*"):
            for path in self._devices.glob(pattern):
                try:
                    newest = max(newest, path.stat().st_atime)
                except OSError:  # closed by now
                    continue
        return max(0.0, time.time() - newest)

    def on_battery(self) -> bool | None:
        """See `Sensors`. A machine that names no battery has none."""
        if not self._supplies.is_dir():
            return None
        batteries = [
            folder
            for folder in self._supplies.iterdir()
            if _read(folder / "type") == "Battery"
            and _read(folder / "scope") != "Device"  # a mouse's
        ]
        return any(_read(folder / "status") == "Discharging" for folder in batteries)

    def pressure(self) -> Pressure | None:
        """See `Sensors`. Linux has temperatures, but not what they mean."""
        return None


def sensors(system: str = sys.platform) -> Sensors:
    """The readings of this system."""
    return MacSensors() if system == "darwin" else LinuxSensors()


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""


def _thermal_state() -> int | None:
    """`[[NSProcessInfo processInfo] thermalState]`; None: not on this system."""
    try:
        ctypes.CDLL("/System/Library/Frameworks/Foundation.framework/Foundation")
        objc = ctypes.CDLL("/usr/lib/libobjc.A.dylib")
    except OSError:
        return None
    pointer = ctypes.c_void_p
    objc.objc_getClass.restype = objc.sel_registerName.restype = pointer
    objc.objc_getClass.argtypes = objc.sel_registerName.argtypes = [ctypes.c_char_p]
    address = ctypes.cast(objc.objc_msgSend, pointer).value
    if address is None:
        return None
    send = ctypes.CFUNCTYPE(pointer, pointer, pointer)(address)
    send_integer = ctypes.CFUNCTYPE(ctypes.c_long, pointer, pointer)(address)
    process_info = send(
        objc.objc_getClass(b"NSProcessInfo"), objc.sel_registerName(b"processInfo")
    )
    return int(send_integer(process_info, objc.sel_registerName(b"thermalState")))
