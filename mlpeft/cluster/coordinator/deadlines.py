"""Finds which of many deadlines is next, in O(log n).

The records keep their deadlines, and may postpone them at any time without a word: a
worker's heartbeat sets a field and no more. The heap's times are lower bounds. One that
comes up is compared with the record, and goes back with the later time.
"""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

K = TypeVar("K", bound="Hashable")


class Deadlines(Generic[K]):
    """A heap of deadlines with lazy deletion.

    Args:
        due: A record's deadline now, by its key; None: it has none (any more).
    """

    def __init__(self, due: Callable[[K], float | None]) -> None:
        self._due = due
        self._heap: list[tuple[float, int, K]] = []
        self._added = 0  # orders equal times

    def add(self, key: K) -> None:
        """A record has a deadline, or an earlier one than before."""
        due = self._due(key)
        if due is not None:
            self._added += 1
            heapq.heappush(self._heap, (due, self._added, key))

    def next(self) -> float | None:
        """The earliest deadline; None: there is none."""
        while self._heap:
            at, order, key = self._heap[0]
            due = self._due(key)
            if due is None:
                heapq.heappop(self._heap)
            elif due > at:
                heapq.heapreplace(self._heap, (due, order, key))
            else:
                return due
        return None

    def take(self, now: float) -> list[K]:
        """Records whose deadline has come, by its time; add them if they have more."""
        taken: dict[K, None] = {}
        while (at := self.next()) is not None and at <= now:
            taken[heapq.heappop(self._heap)[2]] = None
        return list(taken)
