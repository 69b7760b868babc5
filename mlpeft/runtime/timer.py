"""The timer of a state machine: set after each event, moved for few of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable


class WakeupTimer:
    """Calls the machine's driver when the machine wants to be woken.

    With many workers the next wakeup changes with nearly each heartbeat, and is nearly
    always later than before. Then the timer stays: it rings early, the machine has
    nothing to do, and says when it wants to be woken. So the event loop has one timer
    in some seconds, rather than one for each message.

    Args:
        loop: The event loop.
        ring: To be called; it calls `set` again.
    """

    def __init__(
        self, loop: asyncio.AbstractEventLoop, ring: Callable[[], None]
    ) -> None:
        self._loop = loop
        self._ring = ring
        self._handle: asyncio.TimerHandle | None = None

    def set(self, at: float | None) -> None:
        """Ring at a time of the event loop's clock, or earlier; None: not at all."""
        if at is None:
            self.cancel()
        elif self._handle is None or at < self._handle.when():
            self.cancel()
            self._handle = self._loop.call_at(at, self._rings)

    def cancel(self) -> None:
        """Do not ring."""
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def _rings(self) -> None:
        self._handle = None
        self._ring()
