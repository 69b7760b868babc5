"""Workers come, show signs of life, and go."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlpeft.cluster.coordinator.messages import (
    DismissWorker,
    DrainWorker,
    HeartbeatReceived,
    NotifyWorker,
    WorkerDraining,
    WorkerExpected,
    WorkerJoined,
)
from mlpeft.cluster.coordinator.state import Expected, WorkerBook
from mlpeft.cluster.messages import Announce, LeaseKey, Level, WorkerId
from mlpeft.cluster.policy import Cause

if TYPE_CHECKING:
    from mlpeft.cluster.coordinator.leases import Commands, Leases
    from mlpeft.cluster.coordinator.state import Books
    from mlpeft.cluster.policy import Policy


EXPECTED_FOR_S = 60.0
"""How long a worker that gets ready is waited for since it was last heard of."""


class Roster:
    """Keeps the list of connected workers.

    Args:
        books: What the coordinator knows.
        policy: The numbers that decisions turn on.
        leases: Of these workers.
    """

    def __init__(self, books: Books, policy: Policy, leases: Leases) -> None:
        self._books = books
        self._policy = policy
        self._leases = leases

    def expected(self, event: WorkerExpected) -> Commands:
        """A worker gets ready; for people, it decides nothing."""
        books = self._books
        books.expected = {
            incarnation: one
            for incarnation, one in books.expected.items()
            if one.until > books.now and incarnation != event.incarnation
        }
        if books.over is None:
            until = books.now + EXPECTED_FOR_S
            books.expected[event.incarnation] = Expected(event.name, until)
        return []

    def joined(self, event: WorkerJoined) -> Commands:
        """A worker is connected."""
        books = self._books
        if books.over is not None:
            return [DismissWorker(event.worker, books.over, run_over=True)]
        books.workers[event.worker] = WorkerBook(info=event, last_seen=books.now)
        books.expected.pop(event.incarnation, None)
        self._forgive(event.incarnation)
        text = f"worker {event.name} joined ({len(books.workers)} connected)"
        commands: Commands = [Announce(Level.INFO, text, event.name)]
        if event.incarnation in books.drained:  # it may not have heard: its line broke
            commands += self.drain(event.worker)
        quarantined = books.quarantine.reason(event.incarnation)
        if quarantined is not None:
            told = f"still quarantined, no shards for now: {quarantined}"
            commands.append(NotifyWorker(event.worker, told))
        return commands

    def _forgive(self, incarnation: str) -> None:
        """A process that comes back did not crash on a shard: only the line broke."""
        if self._books.round is None:
            return
        for shard, failures in self._books.round.failures.items():
            self._books.round.failures[shard] = [
                failure
                for failure in failures
                if failure.incarnation != incarnation or failure.cause is not Cause.LOST
            ]

    def left(self, worker_id: WorkerId, reason: str) -> Commands:
        """A worker's stream ended; its leases are nobody's any more."""
        worker = self._books.workers.get(worker_id)
        if worker is None:
            return []
        current = self._books.round
        lost = current.live_of(worker_id) if current else []
        for key in lost:
            if worker.draining:  # a lease that crossed its farewell is nobody's failure
                self._leases.drop(key)
            else:
                self._leases.failed(worker, key, Cause.LOST, reason)
        del self._books.workers[worker_id]
        fates = "".join(f"shard {key.shard} {self._fate(key)}; " for key in lost)
        text = (
            f"worker {worker.info.name} left: {reason}; {fates}"
            f"{len(self._books.workers)} connected"
        )
        level = Level.WARNING if lost else Level.INFO
        return [Announce(level, text, worker.info.name)]

    def _fate(self, key: LeaseKey) -> str:
        """What becomes of a shard whose worker left."""
        current = self._books.round
        others = current.live_for(key.shard) if current else []
        if not others:
            return "is leased again"
        return f"goes on with {self._books.workers[others[0].worker].info.name}"

    def heartbeat(self, event: HeartbeatReceived) -> Commands:
        """A worker lives, and its computing thread is so far."""
        worker = self._books.workers.get(event.worker)
        if worker is None:
            return []
        worker.last_seen = self._books.now
        current = self._books.round
        for key, tasks in event.progress:
            if key not in worker.held:
                continue
            live = current.live.get(key) if current else None
            if live is not None and tasks > worker.progress.get(key, 0):
                live.progress_at = self._books.now
            worker.progress[key] = tasks
        return []

    def draining(self, event: WorkerDraining) -> Commands:
        """A worker finishes what it has and wants no more."""
        worker = self._books.workers.get(event.worker)
        if worker is None or worker.draining:
            return []
        worker.last_seen = self._books.now
        worker.draining = True
        name = worker.info.name
        return [Announce(Level.INFO, f"worker {name} takes no more shards", name)]

    def drain(self, worker_id: WorkerId) -> Commands:
        """Give a worker no more leases, and have it end."""
        worker = self._books.workers[worker_id]
        worker.draining = True
        return [DrainWorker(worker_id, self._books.drained[worker.info.incarnation])]

    def wakeups(self) -> list[float]:
        """Times at which `lose_silent` has something to do."""
        lost_after_s = self._policy.lost_after_s
        return [w.last_seen + lost_after_s for w in self._books.workers.values()]

    def lose_silent(self) -> Commands:
        """Workers without a sign of life count as lost."""
        commands: Commands = []
        for worker_id, worker in list(self._books.workers.items()):
            # Compared as next_wakeup computes it: rounding must not make them differ.
            if self._books.now >= worker.last_seen + self._policy.lost_after_s:
                silent_s = self._books.now - worker.last_seen
                reason = f"no heartbeat for {silent_s:.1f} s"
                commands += self.left(worker_id, reason)
                commands.append(DismissWorker(worker_id, reason, run_over=False))
        return commands
