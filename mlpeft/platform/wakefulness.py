"""Keep a Mac awake while it computes.

An idle Mac sleeps even in the middle of a shard. `caffeinate -i` prevents that for as
long as it runs, and with `-w` it exits with our process, even after a kill -9. Other
systems need nothing.
"""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

log = logging.getLogger("mlpeft.worker")

CAFFEINATE: Final = "/usr/bin/caffeinate"
END_S: Final = 5.0


class SleepGuard(Protocol):
    """Keeps a machine awake."""

    def hold(self) -> None:
        """Keep the machine awake from now on; idempotent."""
        ...

    def release(self) -> None:
        """Let the machine sleep again; idempotent."""
        ...


class Caffeinated:
    """A guard for macOS: a `caffeinate` process.

    Args:
        start: Starts a process; as `subprocess.Popen`.
    """

    def __init__(self, start: Callable[..., Any] = subprocess.Popen) -> None:
        self._start = start
        self._process: Any = None
        self._failed = False

    def hold(self) -> None:
        """See `SleepGuard`."""
        if self._failed or (self._process is not None and self._process.poll() is None):
            return
        try:
            self._process = self._start(
                [CAFFEINATE, "-i", "-w", str(os.getpid())],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
        except OSError as error:
            self._failed = True
            log.warning("this machine may fall asleep: %s: %s", CAFFEINATE, error)

    def release(self) -> None:
        """See `SleepGuard`."""
        process, self._process = self._process, None
        if process is None:
            return
        process.terminate()
        try:
            process.wait(END_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


class NoSleepGuard:
    """A guard that does nothing, for systems that need none."""

    def hold(self) -> None:
        """Do nothing."""

    def release(self) -> None:
        """Do nothing."""


def wakefulness(system: str = sys.platform) -> SleepGuard:
    """The guard of this system."""
    return Caffeinated() if system == "darwin" else NoSleepGuard()
