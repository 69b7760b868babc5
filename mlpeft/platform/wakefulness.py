"""Keeping a Mac from falling asleep while it computes.

macOS sleeps when nobody touches it, in the middle of a shard. `caffeinate -i` holds
that off for as long as it runs, and `-w` ends it with the process that it serves, so
that nothing leaks even after a kill -9. Elsewhere nothing is needed.
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
    """A hold on the machine's sleep."""

    def hold(self) -> None:
        """Keep the machine awake from now on. May be called again."""
        ...

    def release(self) -> None:
        """Let it sleep again. May be called again."""
        ...


class Caffeinated:
    """macOS's hold: a process of `caffeinate`.

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
    """Where machines do not fall asleep by themselves, or are allowed to."""

    def hold(self) -> None:
        """Nothing is needed."""

    def release(self) -> None:
        """Nothing is held."""


def wakefulness(system: str = sys.platform) -> SleepGuard:
    """This machine's hold on its sleep."""
    return Caffeinated() if system == "darwin" else NoSleepGuard()
