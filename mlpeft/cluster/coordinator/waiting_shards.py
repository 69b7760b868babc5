"""Shards of a round that nobody computes, in the order in which they are leased."""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


class WaitingShards:
    """Shards that wait: those that failed, and those that have not been tried.

    Any worker may take an untried shard, so that the first of them says whether any can
    be leased. Each that failed is looked at: it may have to wait for another worker.

    Args:
        shards: How many shards a round has; all wait at first.
    """

    def __init__(self, shards: int) -> None:
        self._untried = set(range(shards))
        self._order = list(range(shards))  # a heap of these, and of others
        self._failed: set[int] = set()

    def __bool__(self) -> bool:
        return bool(self._untried or self._failed)

    def __contains__(self, shard: int) -> bool:
        return shard in self._untried or shard in self._failed

    def __iter__(self) -> Iterator[int]:
        return iter(sorted(self._untried | self._failed))

    def put(self, shard: int, *, failed: bool) -> None:
        """A shard waits, or waits for another reason than before."""
        self.take(shard)
        if failed:
            self._failed.add(shard)
        else:
            self._untried.add(shard)
            heapq.heappush(self._order, shard)

    def take(self, shard: int) -> None:
        """A shard waits no longer."""
        self._untried.discard(shard)
        self._failed.discard(shard)

    def first_untried(self) -> int | None:
        """The first shard that has not failed; None: there is none."""
        while self._order and self._order[0] not in self._untried:
            heapq.heappop(self._order)
        return self._order[0] if self._order else None

    def failed(self) -> list[int]:
        """Shards that have failed, in order."""
        return sorted(self._failed)
