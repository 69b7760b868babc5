"""Who takes shards: kept up to date worker by worker, so that no event counts all."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from mlpeft.cluster.coordinator.free_workers import FreeWorkers

if TYPE_CHECKING:
    from mlpeft.cluster.coordinator.free_workers import Rank
    from mlpeft.cluster.coordinator.messages import WorkerJoined
    from mlpeft.cluster.protocol import WorkerId


class Availability:
    """Workers that accept shards, now or later.

    Attributes:
        free: Those with a free slot.
        able: How many workers accept shards, by identity.
        responsive: How many of these are not stuck, by identity.
        by_process: Connected workers of each process.
        by_identity: Connected workers of each identity.
    """

    def __init__(self) -> None:
        self.free = FreeWorkers()
        self.able: Counter[str] = Counter()
        self.responsive: Counter[str] = Counter()
        self.by_process: dict[str, dict[WorkerId, None]] = {}
        self.by_identity: dict[str, dict[WorkerId, None]] = {}
        self._able: set[WorkerId] = set()
        self._responsive: set[WorkerId] = set()

    def add(self, info: WorkerJoined) -> None:
        """A worker connected; `update` follows."""
        self.by_process.setdefault(info.process_id, {})[info.worker] = None
        self.by_identity.setdefault(info.identity, {})[info.worker] = None

    def update(
        self, info: WorkerJoined, *, able: bool, stuck: bool, rank: Rank | None
    ) -> None:
        """What is known of a worker changed.

        Args:
            info: Which worker.
            able: Whether it accepts shards.
            stuck: Whether revoked leases occupy all its slots.
            rank: Its place among free workers; None: it has no free slot.
        """
        worker, identity = info.worker, info.identity
        _count(self._able, self.able, worker, identity, able)
        responsive = able and not stuck
        _count(self._responsive, self.responsive, worker, identity, responsive)
        if able and rank is not None:
            self.free.put(info, rank)
        else:
            self.free.discard(worker)

    def remove(self, info: WorkerJoined) -> None:
        """A worker left."""
        self.update(info, able=False, stuck=False, rank=None)
        for index, name in (
            (self.by_process, info.process_id),
            (self.by_identity, info.identity),
        ):
            del index[name][info.worker]
            if not index[name]:
                del index[name]

    def of(self, suspects: tuple[str, ...]) -> list[WorkerId]:
        """Connected workers of these processes and identities, each once."""
        found: dict[WorkerId, None] = {}
        for suspect in suspects:
            found |= self.by_process.get(suspect, {})
            found |= self.by_identity.get(suspect, {})
        return list(found)


def _count(
    members: set[WorkerId],
    counts: Counter[str],
    worker: WorkerId,
    identity: str,
    belongs: bool,
) -> None:
    """Have a worker among the members of its identity, or not."""
    if belongs == (worker in members):
        return
    if belongs:
        members.add(worker)
        counts[identity] += 1
        return
    members.discard(worker)
    counts[identity] -= 1
    if not counts[identity]:
        del counts[identity]
