"""Keeping the machine awake: how, and while there is work."""

from __future__ import annotations

import asyncio
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


LINGER_S: Final = 30.0
"""Longer than the gap between two rounds: a hold is not taken and let go for each."""


class Awake:
    """Holds off sleep while there is work. To be used on one event loop.

    Args:
        wakefulness: The machine's hold on its sleep.
        linger_s: How long after the last work it is let go.
    """

    def __init__(self, wakefulness: SleepGuard, linger_s: float = LINGER_S) -> None:
        self._wakefulness = wakefulness
        self._linger_s = linger_s
        self._held = False
        self._timer: asyncio.TimerHandle | None = None

    def note(self, *, working: bool) -> None:
        """Say whether there is work now."""
        if working:
            self._cancel_timer()
            if not self._held:
                self._held = True
                self._wakefulness.hold()
        elif self._held and self._timer is None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(self._linger_s, self.release)

    def release(self) -> None:
        """Let the machine sleep now."""
        self._cancel_timer()
        self._held = False
        self._wakefulness.release()

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
