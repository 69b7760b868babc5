"""Finds the best worker with a free slot, in O(log n).

A heap of workers for each identity, and a heap of identities by their best worker: to
pass over those that failed at a shard, or hold their share of a round, costs as many
steps as there are such identities, however many processes these have.
"""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from mlpeft.cluster.coordinator.messages import WorkerJoined
    from mlpeft.cluster.protocol import WorkerId

Rank: TypeAlias = tuple[bool, int, bool, int]
"""The lowest is the best: whether it straggles, minus its free slots, whether its task
times are known, and when it joined, which no two share."""


class _Entry(NamedTuple):
    """A worker in its identity's heap."""

    rank: Rank
    worker: WorkerId
    process_id: str


class FreeWorkers:
    """Workers that could take a shard now, best first."""

    def __init__(self) -> None:
        self._entries: dict[WorkerId, tuple[str, _Entry]] = {}
        self._heaps: dict[str, list[_Entry]] = {}
        # An identity's valid entry is the newest. Its rank is that of the identity's
        # best worker or a better one: workers that are gone are found out later.
        self._identities: list[tuple[Rank, str]] = []
        self._listed: dict[str, Rank] = {}

    def __bool__(self) -> bool:
        return bool(self._entries)

    def ranks(self) -> dict[WorkerId, Rank]:
        """All, for the check of invariants."""
        return {worker: entry.rank for worker, (_, entry) in self._entries.items()}

    def put(self, info: WorkerJoined, rank: Rank) -> None:
        """A worker could take a shard, with this rank from now on."""
        entry = _Entry(rank, info.worker, info.process_id)
        if self._entries.get(info.worker) == (info.identity, entry):
            return
        self._entries[info.worker] = info.identity, entry
        heapq.heappush(self._heaps.setdefault(info.identity, []), entry)
        listed = self._listed.get(info.identity)
        if listed is None or rank < listed:
            self._list(info.identity, rank)

    def discard(self, worker: WorkerId) -> None:
        """A worker can take no shard now."""
        self._entries.pop(worker, None)

    def first(
        self, counts: Callable[[str], bool], processes: Collection[str] = ()
    ) -> WorkerId | None:
        """The best worker; None: there is none.

        Args:
            counts: Whether an identity's workers count.
            processes: Which do not count.
        """
        aside: dict[str, Rank] = {}
        found: _Entry | None = None
        while self._identities:
            rank, identity = self._identities[0]
            if found is not None and found.rank < rank:
                break
            heapq.heappop(self._identities)
            if self._listed.get(identity) != rank or identity in aside:
                continue  # out of date, or listed again with a rank that it had before
            best = self._top(identity)
            if best is None:
                del self._listed[identity]
            elif best.rank != rank:
                self._list(identity, best.rank)
            else:
                aside[identity] = rank
                entry = self._best_of(identity, processes) if counts(identity) else None
                if entry is not None and (found is None or entry.rank < found.rank):
                    found = entry
        for identity, rank in aside.items():
            heapq.heappush(self._identities, (rank, identity))
        return None if found is None else found.worker

    def first_of(
        self, identities: Collection[str], processes: Collection[str]
    ) -> WorkerId | None:
        """The best worker of some identities; None: there is none.

        Args:
            identities: Whose workers count; a few.
            processes: Which do not count.
        """
        found = [
            entry
            for identity in identities
            if (entry := self._best_of(identity, processes)) is not None
        ]
        return min(found).worker if found else None

    def _list(self, identity: str, rank: Rank) -> None:
        self._listed[identity] = rank
        heapq.heappush(self._identities, (rank, identity))

    def _top(self, identity: str) -> _Entry | None:
        """The best worker of an identity; drops entries that are out of date."""
        heap = self._heaps.get(identity)
        while heap:
            entry = heap[0]
            if self._entries.get(entry.worker) == (identity, entry):
                return entry
            heapq.heappop(heap)
        self._heaps.pop(identity, None)
        return None

    def _best_of(self, identity: str, processes: Collection[str]) -> _Entry | None:
        """The best worker of an identity that is none of these processes."""
        aside = []
        while (entry := self._top(identity)) and entry.process_id in processes:
            aside.append(heapq.heappop(self._heaps[identity]))
        for each in aside:
            heapq.heappush(self._heaps.setdefault(identity, []), each)
        return entry
