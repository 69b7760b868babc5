"""When a worker keeps its machine awake: while it has leases, and a moment longer."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from mlpeft.platform import SleepGuard

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
