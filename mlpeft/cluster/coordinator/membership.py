"""Tracks workers: joins, heartbeats, drains and losses."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlpeft.cluster.coordinator.deadlines import Deadlines
from mlpeft.cluster.coordinator.messages import (
    DismissWorker,
    Send,
    WorkerExpected,
    WorkerJoined,
)
from mlpeft.cluster.coordinator.state import Expected
from mlpeft.cluster.messages import Announce, Level
from mlpeft.cluster.policy import Cause
from mlpeft.cluster.protocol import Drain, Notice, RunOver

if TYPE_CHECKING:
    from mlpeft.cluster.coordinator.leases import Leases
    from mlpeft.cluster.coordinator.messages import Commands
    from mlpeft.cluster.coordinator.state import ClusterState, WorkerRecord
    from mlpeft.cluster.policy import Policy
    from mlpeft.cluster.protocol import Away, Heartbeat, LeaseKey, WorkerId


MOST_EXPECTED = 1000
"""Preparing workers that are remembered."""
MOST_REASON = 200
"""Characters of a worker's words that are kept and shown."""
EXPECTED_FOR_S = 60.0
"""Seconds after its last call for which a preparing worker is expected."""


class Membership:
    """Keeps the list of connected workers.

    Args:
        state: The coordinator's state.
        policy: The parameters of decisions.
        leases: The workers' leases.
    """

    def __init__(self, state: ClusterState, policy: Policy, leases: Leases) -> None:
        self._state = state
        self._policy = policy
        self._leases = leases
        self._silence: Deadlines[WorkerId] = Deadlines(self._silent_at)

    def expected(self, event: WorkerExpected) -> Commands:
        """A worker is preparing to join; shown to users, decides nothing."""
        state = self._state
        state.expected.pop(event.process_id, None)
        while state.expected:  # in the order of their ends, which are equally far off
            oldest = next(iter(state.expected))
            if state.expected[oldest].until > state.now:
                break
            del state.expected[oldest]
        until = state.now + EXPECTED_FOR_S
        state.expected[event.process_id] = Expected(event.name, until)
        if len(state.expected) > MOST_EXPECTED:
            del state.expected[next(iter(state.expected))]
        return []

    def joined(self, event: WorkerJoined) -> Commands:
        """A worker connected."""
        state = self._state
        if state.over is not None:
            return [Send(event.worker, RunOver(state.over))]
        state.add(event)
        self._silence.add(event.worker)
        state.expected.pop(event.process_id, None)
        self._forgive(event.process_id)
        text = f"worker {event.name} joined ({len(state.workers)} connected)"
        commands: Commands = [Announce(Level.INFO, text, event.name)]
        if event.process_id in state.drained:  # its connection may have broken before
            commands += self.drain(event.worker)
        quarantined = state.quarantine.reason(*event.suspects)
        if quarantined is not None:
            notice = f"still quarantined, no shards for now: {quarantined}"
            commands.append(Send(event.worker, Notice(notice)))
        return commands

    def _forgive(self, process_id: str) -> None:
        """A process that rejoins did not crash: only its connection broke."""
        for current in self._state.rounds():
            current.forgive(process_id)

    def left(self, worker_id: WorkerId, reason: str) -> Commands:
        """A worker's stream ended: end its leases."""
        worker = self._state.workers.get(worker_id)
        if worker is None:
            return []
        lost = [
            key
            for current in self._state.rounds()
            for key in current.live_of(worker_id)
        ]
        for key in lost:
            if worker.draining:  # a lease granted while it said goodbye: no failure
                self._leases.drop(key)
            else:
                self._leases.failed(worker, key, Cause.LOST, reason)
        self._state.remove(worker_id)
        shards = "".join(
            f"shard {key.shard} {self._successor_text(key)}; " for key in lost
        )
        text = (
            f"worker {worker.info.name} left: {reason}; {shards}"
            f"{len(self._state.workers)} connected"
        )
        level = Level.WARNING if lost else Level.INFO
        return [Announce(level, text, worker.info.name)]

    def _successor_text(self, key: LeaseKey) -> str:
        """Who computes a shard whose worker left, for the log."""
        current = self._state.round_of(key)
        others = current.live_for(key.shard) if current else []
        if not others:
            if current is not self._state.round:
                return f"of the closed round {key.round_id} is dropped"
            return "is leased again"
        return f"continues on {self._state.workers[others[0].worker].info.name}"

    def heartbeat(self, worker: WorkerRecord, heartbeat: Heartbeat) -> Commands:
        """A worker is alive and reports its progress."""
        worker.last_seen = self._state.now
        for key, tasks in heartbeat.progress:
            if key not in worker.held:
                continue
            live = self._state.live_lease(key)
            if live is not None and tasks > worker.progress.get(key, 0):
                live.progress_at = self._state.now
            worker.progress[key] = tasks
        return []

    def draining(self, worker: WorkerRecord) -> Commands:
        """A worker finishes its shards and accepts no more."""
        if worker.draining:
            return []
        worker.last_seen = self._state.now
        worker.draining = True
        self._state.refresh(worker.info.worker)
        name = worker.info.name
        return [Announce(Level.INFO, f"worker {name} takes no more shards", name)]

    def away(self, worker: WorkerRecord, message: Away) -> Commands:
        """A worker takes no leases for now, or takes them again."""
        worker.last_seen = self._state.now
        reason = message.reason[:MOST_REASON]
        if message.change <= worker.away_change:
            return []
        worker.away_change = message.change
        if worker.away == reason:
            return []
        worker.away = reason
        self._state.refresh(worker.info.worker)
        name = worker.info.name
        text = f"is away: {worker.away}" if worker.away else "is back"
        return [Announce(Level.INFO, f"worker {name} {text}", name)]

    def drain(self, worker_id: WorkerId) -> Commands:
        """Grant a worker no more leases, and tell it to end."""
        worker = self._state.workers[worker_id]
        worker.draining = True
        self._state.refresh(worker.info.worker)
        reason = self._state.drained[worker.info.process_id]
        return [Send(worker_id, Drain(reason))]

    def wakeups(self) -> list[float]:
        """Times at which `lose_silent` must run."""
        silent_at = self._silence.next()
        return [] if silent_at is None else [silent_at]

    def _silent_at(self, worker_id: WorkerId) -> float | None:
        """When a worker is lost if it sends nothing; None: it is not connected."""
        worker = self._state.workers.get(worker_id)
        return None if worker is None else worker.last_seen + self._policy.lost_after_s

    def lose_silent(self) -> Commands:
        """Drop workers that sent nothing for `lost_after_s`."""
        commands: Commands = []
        for worker_id in self._silence.take(self._state.now):
            silent_s = self._state.now - self._state.workers[worker_id].last_seen
            reason = f"no heartbeat for {silent_s:.1f} s"
            commands += self.left(worker_id, reason)
            commands.append(DismissWorker(worker_id, reason))
        return commands
