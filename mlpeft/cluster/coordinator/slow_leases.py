"""Finds leases that take unusually long while what is usual still changes.

A lease of `tasks` tasks on a worker that holds `ahead` others is slow after `weight *
limit_s` seconds, `weight = (ahead + 1) * tasks`. The limit follows from what tasks took
of late, so it changes with each shard that comes in, and until one has there is none:
then a lease is slow after a fixed time. Of the leases of one weight the oldest is slow
first, whatever the limit: one queue for each weight finds the next without a look at
the others.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from mlpeft.cluster.protocol import LeaseKey
    from mlpeft.work import Kind


class SlowLeases:
    """Leases of a round that are not slow yet, in the order in which they will be.

    Args:
        limit_s: Seconds that a task of a kind may take; None: not known yet.
        least_s: Seconds before which no lease is slow.
        unknown_s: Seconds after which one is while no limit is known.
    """

    def __init__(
        self,
        limit_s: Callable[[Kind], float | None],
        least_s: float,
        unknown_s: float,
    ) -> None:
        self._limit_s = limit_s
        self._least_s = least_s
        self._unknown_s = unknown_s
        # An entry counts if its lease is watched since the entry's time.
        self._queues: dict[tuple[Kind, int], deque[tuple[LeaseKey, float]]] = {}
        self._since: dict[LeaseKey, float] = {}

    def __contains__(self, key: LeaseKey) -> bool:
        return key in self._since

    def add(self, key: LeaseKey, kind: Kind, weight: int, now: float) -> None:
        """Watch a lease from now on; after `discard`, one that was watched before.

        Args:
            key: Which lease.
            kind: Kind of its shard.
            weight: Tasks that the worker computes until it is done.
            now: The time in seconds.
        """
        self._queues.setdefault((kind, weight), deque()).append((key, now))
        self._since[key] = now

    def discard(self, key: LeaseKey) -> None:
        """Watch a lease no longer."""
        self._since.pop(key, None)

    def restart(self, at: float) -> None:
        """Give all leases their full time again, from a time on."""
        for queue in self._queues.values():
            watched = [key for key, since in queue if self._since.get(key) == since]
            queue.clear()
            queue.extend((key, at) for key in watched)
        self._since = dict.fromkeys(self._since, at)

    def next_at(self) -> float | None:
        """When the next lease is slow; None: all are."""
        return min(
            (
                due
                for (kind, weight), queue in self._queues.items()
                if (due := self._due(kind, weight, queue)) is not None
            ),
            default=None,
        )

    def take(self, now: float) -> list[LeaseKey]:
        """Leases that are slow by now; they are watched no longer."""
        slow = []
        for (kind, weight), queue in self._queues.items():
            while (due := self._due(kind, weight, queue)) is not None and due <= now:
                key, _ = queue.popleft()
                del self._since[key]
                slow.append(key)
        return slow

    def _due(
        self, kind: Kind, weight: int, queue: deque[tuple[LeaseKey, float]]
    ) -> float | None:
        """When the first lease of a queue is slow; drops entries that do not count."""
        while queue and self._since.get(queue[0][0]) != queue[0][1]:
            queue.popleft()
        if not queue:
            return None
        limit_s = self._limit_s(kind)
        after_s = self._unknown_s if limit_s is None else weight * limit_s
        return queue[0][1] + max(after_s, self._least_s)
