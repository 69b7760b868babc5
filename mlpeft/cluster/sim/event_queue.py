"""Virtual time: what is to happen, in order."""

from __future__ import annotations

import heapq
import itertools
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


class EventQueue:
    """Actions by their time; time jumps from one to the next.

    Attributes:
        now: Seconds since the start.
    """

    def __init__(self) -> None:
        self.now = 0.0
        self._actions: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()

    def after(self, delay_s: float, action: Callable[[], None]) -> None:
        """Do something in so many seconds; at equal times, what was entered first."""
        entry = (self.now + delay_s, next(self._order), action)
        heapq.heappush(self._actions, entry)

    def step(self) -> None:
        """Do what is next."""
        self.now, _, action = heapq.heappop(self._actions)
        action()
