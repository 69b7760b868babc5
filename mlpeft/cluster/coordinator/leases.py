"""Who computes what: leases are granted, end, and count as failures or not."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from mlpeft.cluster import policy
from mlpeft.cluster.coordinator import durations
from mlpeft.cluster.coordinator.messages import (
    CoordinatorCommand,
    FailRound,
    Send,
    SendTheta,
)
from mlpeft.cluster.coordinator.state import LiveLease
from mlpeft.cluster.messages import Announce, Level
from mlpeft.cluster.policy import Cause, Failure
from mlpeft.cluster.protocol import Lease, LeaseKey, LeaseRevocation, Notice

if TYPE_CHECKING:
    from mlpeft.cluster.coordinator.state import ClusterState, OpenRound, WorkerRecord
    from mlpeft.cluster.policy import Policy
    from mlpeft.cluster.protocol import WorkerId

Commands: TypeAlias = list[CoordinatorCommand]


class Leases:
    """Grants leases and ends them.

    Args:
        state: What the coordinator knows.
        policy: The numbers that decisions turn on.
    """

    def __init__(self, state: ClusterState, policy: Policy) -> None:
        self._state = state
        self._policy = policy

    # --- granting ---------------------------------------------------------------------

    def settle(self) -> Commands:
        """After any event: fail the round if a shard has failed everywhere, else go on.

        Whatever waits is leased while there are free slots; when nothing waits, slow
        shards are leased a second time.
        """
        state, current = self._state, self._state.round
        if state.missing:  # once all are there, it never counts again
            state.missing = max(0, self._policy.min_workers - len(state.workers))
        if current is None:
            return []
        candidates = state.candidates()
        for shard, failures in current.failures.items():
            if shard in current.updates:
                continue
            if policy.too_many_failures(failures, candidates, self._policy):
                story = policy.story(current.round_id, shard, failures)
                commands = self.close_round("the round failed")
                return [*commands, FailRound(current.round_id, story)]
        if state.missing or state.paused is not None:
            return []
        return self._grant(current) or self._back_up(current)

    def _grant(self, current: OpenRound) -> Commands:
        """Hand out waiting shards; with none waiting, nothing."""
        commands: Commands = []
        for index in current.waiting():
            candidates = self._state.candidates()
            if all(candidate.free <= 0 for candidate in candidates):
                break
            failures = current.failures.get(index, ())
            chosen, _ = policy.choose_worker(candidates, failures)
            if chosen is not None:
                commands += self._lease(current, index, self._state.workers[chosen])
        return commands

    def _back_up(self, current: OpenRound) -> Commands:
        """Lease slow shards a second time, if no shard waits."""
        if current.waiting():
            return []
        commands: Commands = []
        for key, live in list(current.live.items()):
            if not live.slow or len(current.live_for(key.shard)) > 1:
                continue
            holder = self._state.workers[live.worker].info
            chosen, reason = durations.choose_backup(
                self._state.candidates(),
                holder.process_id,
                current.failures.get(key.shard, ()),
            )
            if chosen is None:
                continue
            self._state.backups += 1
            worker = self._state.workers[chosen]
            commands += self._lease(current, key.shard, worker, backup=True)
            held_s = self._state.now - live.granted_at
            if held_s < self._policy.announce_s:
                continue  # short ones are many: the status counts them
            text = (
                f"backup: {holder.name} has had {key} for {held_s:.1f} s, longer than "
                f"is usual, and {reason}; the first update counts"
            )
            commands.append(Announce(Level.INFO, text, holder.name, key))
        return commands

    def _lease(
        self,
        current: OpenRound,
        index: int,
        worker: WorkerRecord,
        *,
        backup: bool = False,
    ) -> Commands:
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
        slow_after_s = durations.slow_after_s(
            task,
            tasks,
            ahead,
            factor=policy.backup_factor,
            least_s=policy.least_backup_s,
        )
        current.granted[key] = worker.info.process_id
        lease = Lease(key, current.version, shard, lease_s)
        to = worker.info.worker
        current.live[key] = LiveLease(
            to,
            lease,
            now,
            deadline=now + lease_s,
            slow_at=None if slow_after_s is None else now + slow_after_s,
            warn_at=now + max(lease_s / 2, slow_after_s or 0.0),
            progress_at=now,
            backup=backup,
        )
        worker.held[key] = now
        if worker.version == current.version:
            return [Send(to, lease)]
        worker.version = current.version
        return [SendTheta(to, current.version), Send(to, lease)]

    # --- what a worker says of a lease ------------------------------------------------

    def let_go(self, worker: WorkerRecord, key: LeaseKey) -> float | None:
        """A message about a lease is a sign of life, and frees the lease's slot.

        Returns:
            Seconds that the worker was at it; None if it did not hold it.
        """
        now = worker.last_seen = self._state.now
        if key not in worker.held:
            return None
        live = self._state.round.live.get(key) if self._state.round else None
        waited_from = None if live is None else live.computed_at
        took_s = worker.computing_s(key, now if waited_from is None else waited_from)
        worker.let_go_at = now
        del worker.held[key]
        worker.progress.pop(key, None)
        return took_s

    def hold(self, worker_id: WorkerId, key: LeaseKey | None) -> Commands:
        """Whoever we keep waiting is neither silent nor late, and needs no backup."""
        worker = self._state.workers.get(worker_id)
        if worker is None:
            return []
        now = worker.last_seen = self._state.now
        worker.held_back = key
        if key is not None and self.is_live(worker, key) and self._state.round:
            live = self._state.round.live[key]
            live.slow, live.slow_at, live.warn_at = False, None, None
            live.deadline = max(live.deadline, now + self._policy.lost_after_s)
            if live.computed_at is None:
                live.computed_at = now
        return []

    def is_live(self, worker: WorkerRecord, key: LeaseKey) -> bool:
        """Whether the worker holds this lease and it still counts."""
        live = self._state.round.live.get(key) if self._state.round else None
        return live is not None and live.worker == worker.info.worker

    def drop(self, key: LeaseKey) -> None:
        """The lease no longer counts, and that is nobody's failure."""
        if self._state.round is not None:
            self._state.round.live.pop(key, None)

    def came_in(
        self, current: OpenRound, worker: WorkerRecord, key: LeaseKey
    ) -> Commands:
        """A shard is in: forget its leases, and tell those who still compute it."""
        worker.shards_done += 1
        commands: Commands = []
        if self._state.quarantine.succeeded(worker.info.process_id):
            commands += self._set_free([worker.info.process_id], "an update counted")
        for other in [other for other in current.live if other.shard == key.shard]:
            live = current.live.pop(other)
            if other in self._state.workers[live.worker].held:
                revocation = LeaseRevocation(other, "the shard is in")
                commands.append(Send(live.worker, revocation))
        return commands

    # --- failures ---------------------------------------------------------------------

    def failed(
        self, worker: WorkerRecord, key: LeaseKey, cause: Cause, reason: str
    ) -> Commands:
        """A live lease came to nothing: note it in the shard's and worker's story."""
        current = self._state.round
        self.drop(key)
        worker.failures += 1
        self._state.failures[cause] += 1
        if current is None:
            return []
        info = worker.info
        failure = Failure(key.attempt, info.name, info.process_id, cause, reason)
        story = current.failures.setdefault(key.shard, [])
        story.append(failure)
        if cause is Cause.LOST:
            return []
        quarantine, shard = self._state.quarantine, (key.round_id, key.shard)
        others = [f for f in story if f.cause is not Cause.LOST]
        if any(other.process_id != info.process_id for other in others):
            return self._set_free(quarantine.excuse(shard), "its shards fail elsewhere")
        why = quarantine.failed(
            info.process_id, shard, f"{cause.value}: {reason}", self._state.now
        )
        if why is None:
            return []
        text = (
            f"worker {info.name} is quarantined for {self._policy.quarantine_s:g} s "
            f"and gets no shards: {why}"
        )
        return [
            Announce(Level.WARNING, text, info.name),
            Send(info.worker, Notice(f"quarantined, no shards for now: {why}")),
        ]

    def excuse(self, key: LeaseKey) -> Commands:
        """Who failed at this shard was right after all."""
        free = self._state.quarantine.excuse((key.round_id, key.shard))
        return self._set_free(free, "its update was right")

    def release(self, process_ids: list[str]) -> Commands:
        """An operator sets quarantined processes free."""
        quarantine = self._state.quarantine
        free = [process for process in process_ids if quarantine.release(process)]
        return self._set_free(free, "an operator says so")

    def _set_free(self, process_ids: list[str], why: str) -> Commands:
        """Tell everybody who gets shards again; `settle` gives them."""
        commands: Commands = []
        for worker in self._state.workers.values():
            if worker.info.process_id in process_ids:
                name = worker.info.name
                text = f"worker {name} is out of quarantine: {why}"
                commands.append(Announce(Level.INFO, text, name))
                notice = Notice(f"out of quarantine: {why}")
                commands.append(Send(worker.info.worker, notice))
        return commands

    # --- time -------------------------------------------------------------------------

    def wakeups(self) -> list[float]:
        """Times at which `time_passed` has something to do."""
        times = []
        released = self._state.quarantine.next_release()
        if released is not None:
            times.append(released)
        if self._state.round is not None:
            for live in self._state.round.live.values():
                times.append(live.deadline)
                times += [at for at in (live.slow_at, live.warn_at) if at is not None]
        return times

    def time_passed(self) -> Commands:
        """End leases that ran out, note slow ones, open quarantines."""
        free = self._state.quarantine.released(self._state.now)
        commands = self._set_free(free, "its time is over")
        if self._state.round is not None:
            for key, live in list(self._state.round.live.items()):
                commands += self._look_at(key, live)
        return commands

    def _look_at(self, key: LeaseKey, live: LiveLease) -> Commands:
        """End a lease that ran out; else note whether it is slow, or stands still."""
        now = self._state.now
        if now >= live.deadline:
            return self._expire(key, live)
        if live.slow_at is not None and now >= live.slow_at:
            live.slow, live.slow_at = True, None
        if live.warn_at is None or now < live.warn_at:
            return []
        live.warn_at = None
        if live.progress_at > live.granted_at:
            return []
        name = self._state.workers[live.worker].info.name
        text = (
            f"worker {name}: {key} takes long; {self._stall(live)}; its lease ends in "
            f"{live.deadline - now:.0f} s"
        )
        return [Announce(Level.WARNING, text, name, key)]

    def _expire(self, key: LeaseKey, live: LiveLease) -> Commands:
        worker = self._state.workers[live.worker]
        reason = f"not done within {live.lease.lease_s:.3g} s; {self._stall(live)}"
        # So that a worker that has become slow gets longer from now on.
        task_s = worker.computing_s(key, self._state.now) / len(live.lease.shard.tasks)
        worker.times.add(live.lease.shard.kind, task_s)
        name = worker.info.name
        text = f"worker {name}: {key}: {reason}"
        return [
            Announce(Level.WARNING, text, name, key),
            *self.failed(worker, key, Cause.LATE, reason),
            Send(live.worker, LeaseRevocation(key, reason)),
        ]

    def _stall(self, live: LiveLease) -> str:
        since_s = self._state.now - live.progress_at
        return f"its heartbeats come, without progress for {since_s:.1f} s"

    # --- rounds -----------------------------------------------------------------------

    def close_round(self, reason: str) -> Commands:
        """Close the round without a result; legal if it was just completed."""
        current, self._state.round = self._state.round, None
        live = current.live.items() if current else ()
        return [Send(lease.worker, LeaseRevocation(key, reason)) for key, lease in live]
