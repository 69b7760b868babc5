"""Leases from their grant to their end."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlpeft.cluster.coordinator import durations
from mlpeft.cluster.coordinator.deadlines import Deadlines
from mlpeft.cluster.coordinator.messages import Commands, Send, SendTheta
from mlpeft.cluster.coordinator.open_round import LiveLease
from mlpeft.cluster.coordinator.state import HeldLease
from mlpeft.cluster.messages import Announce, Level
from mlpeft.cluster.policy import Cause, LateResult
from mlpeft.cluster.protocol import Lease, LeaseKey, LeaseRevocation

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from mlpeft.cluster.coordinator.failures import Failures
    from mlpeft.cluster.coordinator.messages import WorkerJoined
    from mlpeft.cluster.coordinator.open_round import OpenRound
    from mlpeft.cluster.coordinator.state import ClusterState, WorkerRecord
    from mlpeft.cluster.policy import Policy
    from mlpeft.cluster.protocol import WorkerId
    from mlpeft.work import Kind


class Leases:
    """Grants leases and ends them.

    Args:
        state: The coordinator's state.
        policy: The parameters of decisions.
        failures: Counts those that fail.
    """

    def __init__(self, state: ClusterState, policy: Policy, failures: Failures) -> None:
        self._state = state
        self._policy = policy
        self._failures = failures
        self._deadlines: Deadlines[LeaseKey] = Deadlines(self._due)

    # --- granting ---------------------------------------------------------------------

    def grant(
        self,
        current: OpenRound,
        index: int,
        worker: WorkerRecord,
        *,
        backup: bool = False,
    ) -> Commands:
        """Lease a shard to a worker with a free slot.

        Args:
            current: The open round.
            index: The shard's.
            worker: Who gets it.
            backup: Whether another worker has it already.
        """
        now, policy, shard = self._state.now, self._policy, current.shards[index]
        attempt = current.attempts.get(index, 0) + 1
        current.attempts[index] = attempt
        key = LeaseKey(self._state.session, current.round_id, index, attempt)
        task = self._state.usual(worker, shard.kind)
        tasks, ahead = len(shard.tasks), len(worker.held)
        lease_s = durations.lease_s(
            task,
            tasks,
            ahead,
            factor=policy.deadline_factor,
            least_s=policy.least_lease_s,
            most_s=policy.lease_s,
        )
        current.granted[key] = worker.info.process_id
        lease = Lease(key, current.version, shard, lease_s)
        to = worker.info.worker
        live = LiveLease(
            to,
            worker.info.identity,
            lease,
            now,
            deadline=now + lease_s,
            warn_at=now + lease_s / 2,
            progress_at=now,
            on_straggler=worker.straggler and policy.backup_factor > 0,
            backup=backup,
        )
        current.start(key, live, weight=(ahead + 1) * tasks)
        worker.held[key] = HeldLease(now, shard.kind, tasks)
        self._deadlines.add(key)
        self._state.refresh(to)
        if worker.version == current.version:
            return [Send(to, lease)]
        worker.version, worker.sending = current.version, None
        return [SendTheta(to, current.version), Send(to, lease)]

    # --- messages of workers about a lease --------------------------------------------

    def let_go(self, worker: WorkerRecord, key: LeaseKey) -> float | None:
        """Free the slot of a lease that the worker answered or returned.

        Returns:
            Seconds that the worker computed it; None if it did not hold it.
        """
        now = worker.last_seen = self._state.now
        if worker.receiving is not None and worker.receiving.label == key:
            worker.receiving = None
        if key not in worker.held:
            return None
        live = self._state.live_lease(key)
        computed_at = None if live is None else live.computed_at
        took_s = worker.computing_s(key, now if computed_at is None else computed_at)
        if live is None:
            self._took_at_least(worker, key)
        worker.let_go_at = now
        del worker.held[key]
        worker.progress.pop(key, None)
        self._state.refresh(worker.info.worker)
        return took_s

    def took(self, worker: WorkerRecord, kind: Kind, task_s: float) -> None:
        """A worker's shard counts, with so many seconds for each of its tasks."""
        self._took(worker, kind, task_s)
        if not worker.straggler:
            self._state.times.add(kind, task_s)

    def _took_at_least(self, worker: WorkerRecord, key: LeaseKey) -> None:
        """A worker holds a lease that was taken back, and is not done.

        If shorter times are usual with it, that counts: a worker that a backup
        overtakes whenever it stands still would look fast else.
        """
        kind, tasks = worker.held[key].kind, worker.held[key].tasks
        task_s = worker.computing_s(key, self._state.now) / tasks
        usual = worker.times if worker.times.of(kind) else self._state.times
        if usual.of(kind) and task_s > usual.mean_s(kind):
            self._took(worker, kind, task_s)

    def _took(self, worker: WorkerRecord, kind: Kind, task_s: float) -> None:
        worker.times.add(kind, task_s)
        paces, to = self._state.paces, worker.info.worker
        paces.note(to, kind, worker.times.mean_s(kind))
        worker.straggler = paces.straggles(to)
        self._state.refresh(to)

    def hold(self, worker_id: WorkerId, key: LeaseKey | None) -> Commands:
        """While we delay a worker's update, it is not silent, late or slow."""
        worker = self._state.workers.get(worker_id)
        if worker is None:
            return []
        now = worker.last_seen = self._state.now
        current, before, worker.held_back = self._state.round, worker.held_back, key
        if key is None and current is not None:
            current.read_early = before
        if key is None or current is None:
            return []
        for each in self._state.rounds():
            for other in each.live_of(worker_id):  # none of them can be heard of
                live = each.live[other]
                live.deadline = max(live.deadline, now + self._policy.lost_after_s)
        if key in current.live and self.is_live(worker, key):
            live = current.live[key]
            live.slow = live.on_straggler = False
            live.warn_at = None
            current.slow_leases.discard(key)
            current.to_back_up.pop(key, None)
            if live.computed_at is None:
                live.computed_at = now
        return []

    def is_live(self, worker: WorkerRecord, key: LeaseKey) -> bool:
        """Whether the worker holds this lease and it is still valid."""
        live = self._state.live_lease(key)
        return live is not None and live.worker == worker.info.worker

    def drop(self, key: LeaseKey) -> None:
        """End a lease without counting a failure."""
        state, current = self._state, self._state.round_of(key)
        if current is None or self._end(current, key) is None:
            return
        if current is not state.round and not current.keys_for(key.shard):
            state.late_results[LateResult.DROPPED] += 1

    def _end(self, current: OpenRound, key: LeaseKey) -> LiveLease | None:
        """End a lease: its worker may be stuck with it."""
        live = current.end(key)
        if live is not None:
            self._state.refresh(live.worker)
        return live

    def came_in(self, current: OpenRound, info: WorkerJoined, shard: int) -> Commands:
        """A shard is in: end its leases, and revoke those still being computed.

        Args:
            current: The open round.
            info: Whose update counted; it may have left.
            shard: Which.
        """
        worker = self._state.workers.get(info.worker)
        if worker is not None:
            worker.shards_done += 1
        commands = self._failures.succeeded(info.suspects)
        for other in current.keys_for(shard):
            live = current.live[other]
            self._end(current, other)
            loser = self._state.workers[live.worker]
            if other in loser.held:
                if live.slow:
                    self._took_at_least(loser, other)
                revocation = LeaseRevocation(other, "the shard is in")
                commands.append(Send(live.worker, revocation))
        return commands

    def failed(
        self, worker: WorkerRecord, key: LeaseKey, cause: Cause, reason: str
    ) -> Commands:
        """A live lease failed: record it for the shard and the worker."""
        current = self._state.round_of(key)
        self.drop(key)
        return self._failures.count(current, worker, key, cause, reason)

    def take_back(self, identity: str, reason: str) -> Commands:
        """End all leases of an identity without counting failures."""
        commands: Commands = []
        for worker in self._state.availability.by_identity.get(identity, ()):
            for current in self._state.rounds():
                for key in current.live_of(worker):
                    self.drop(key)
                    commands.append(Send(worker, LeaseRevocation(key, reason)))
        return commands

    # --- time -------------------------------------------------------------------------

    def wakeups(self) -> list[float]:
        """Times at which `time_passed` must run."""
        times = []
        lease_at = self._deadlines.next()
        if lease_at is not None:
            times.append(lease_at)
        if self._state.round is not None:
            slow_at = self._state.round.slow_leases.next_at()
            if slow_at is not None and self._policy.backup_factor > 0:
                times.append(slow_at)
        return times

    def time_passed(self) -> Commands:
        """Expire leases, and warn of stalls."""
        commands: Commands = []
        for key in self._deadlines.take(self._state.now):
            live = self._state.live_lease(key)
            if live is not None:
                commands += self._check_time(key, live)
                self._deadlines.add(key)
        return commands

    def _due(self, key: LeaseKey) -> float | None:
        """When a lease ends, or people are told; None: it no longer counts."""
        live = self._state.live_lease(key)
        return None if live is None else live.due_at

    def _check_time(self, key: LeaseKey, live: LiveLease) -> Commands:
        """Expire a lease, or warn of a stall."""
        now = self._state.now
        if now >= live.deadline:
            return self._expire(key, live)
        if live.warn_at is None or now < live.warn_at:
            return []
        live.warn_at = None
        if live.progress_at > live.granted_at:
            return []
        name = self._state.workers[live.worker].info.name
        text = (
            f"worker {name}: {key} takes long; {self._stall_text(live)}; its lease "
            f"expires in {live.deadline - now:.0f} s"
        )
        return [Announce(Level.WARNING, text, name, key)]

    def _expire(self, key: LeaseKey, live: LiveLease) -> Commands:
        worker = self._state.workers[live.worker]
        reason = f"not done within {live.lease.lease_s:.3g} s; {self._stall_text(live)}"
        # Its time counts, so that a worker that became slow gets longer leases.
        task_s = worker.computing_s(key, self._state.now) / len(live.lease.shard.tasks)
        self._took(worker, live.lease.shard.kind, task_s)
        name = worker.info.name
        text = f"worker {name}: {key}: {reason}"
        return [
            Announce(Level.WARNING, text, name, key),
            *self.failed(worker, key, Cause.LATE, reason),
            Send(live.worker, LeaseRevocation(key, reason)),
        ]

    def _stall_text(self, live: LiveLease) -> str:
        stalled_s = self._state.now - live.progress_at
        return f"its heartbeats arrive, but without progress for {stalled_s:.1f} s"

    # --- rounds -----------------------------------------------------------------------

    def close_round(self, reason: str) -> Commands:
        """Close the round without a result, and revoke all leases."""
        current, self._state.round = self._state.round, None
        commands = [] if current is None else self.revoke(current, reason)
        return commands + self.forget_late(reason)

    def forget_late(self, reason: str, before: int | None = None) -> Commands:
        """Nothing late counts any more.

        Args:
            reason: Why, for the workers.
            before: Only of rounds with a theta before this version; None: all.
        """
        state, commands = self._state, Commands()
        for round_id, late in list(state.late.items()):
            if before is None or late.version < before:
                del state.late[round_id]
                commands += self.drop_late(late, reason, list(late.live))
        had = len(state.late_updates)
        state.late_updates = [
            update
            for update in state.late_updates
            if before is not None and update.round >= before
        ]
        state.late_results[LateResult.DROPPED] += had - len(state.late_updates)
        return commands

    def drop_late(
        self, closed: OpenRound, reason: str, keys: Sequence[LeaseKey]
    ) -> Commands:
        """Revoke leases of a round that is closed, whose shards count no more."""
        dropped = {key.shard for key in keys}
        self._state.late_results[LateResult.DROPPED] += len(dropped)
        return self.revoke(closed, reason, keys)

    def revoke(
        self, closed: OpenRound, reason: str, keys: Iterable[LeaseKey] | None = None
    ) -> Commands:
        """Revoke leases of a round that is closed.

        Args:
            closed: Which.
            reason: Why, for the workers.
            keys: Which leases; None: all.
        """
        commands = Commands()
        for key in list(closed.live if keys is None else keys):
            live = closed.end(key)
            if live is not None:
                self._state.refresh(live.worker)
                commands.append(Send(live.worker, LeaseRevocation(key, reason)))
        return commands
