"""Decides after each event who computes what: waiting shards, and backups."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlpeft.cluster import policy
from mlpeft.cluster.coordinator.messages import FailRound
from mlpeft.cluster.coordinator.spare_workers import spare_workers
from mlpeft.cluster.messages import Announce, Level

if TYPE_CHECKING:
    from mlpeft.cluster.coordinator.leases import Leases
    from mlpeft.cluster.coordinator.messages import Commands
    from mlpeft.cluster.coordinator.open_round import LiveLease, OpenRound
    from mlpeft.cluster.coordinator.state import ClusterState, WorkerRecord
    from mlpeft.cluster.policy import Policy
    from mlpeft.cluster.protocol import LeaseKey


class Grants:
    """Grants leases while there are free slots.

    Args:
        state: The coordinator's state.
        policy: The parameters of decisions.
        leases: The workers' leases.
    """

    def __init__(self, state: ClusterState, policy: Policy, leases: Leases) -> None:
        self._state = state
        self._policy = policy
        self._leases = leases

    def settle(self) -> Commands:
        """After any event: fail the round if a shard failed everywhere, else grant.

        Waiting shards are leased while there are free slots; when none waits, shards
        of slow leases and of stragglers get a backup.
        """
        state, current = self._state, self._state.round
        if state.missing:  # only before the first start, never again
            state.missing = max(0, self._policy.min_workers - len(state.workers))
        if current is None:
            return []
        self._note_slow(current)
        for shard in current.often_failed:
            if shard in current.opinions:  # it does not fail the round: `audits`
                continue
            failures = current.failures[shard]
            if policy.failed_everywhere(
                failures, state.availability.able, self._policy
            ):
                history = policy.failure_history(current.round_id, shard, failures)
                commands = self._leases.close_round("the round failed")
                return [*commands, FailRound(current.round_id, history)]
        if state.missing or state.paused is not None:
            return []
        return self._grant(current) + self._back_up(current) + self._tell_spare(current)

    def _tell_spare(self, current: OpenRound) -> Commands:
        """Once: some workers will never get a shard. The status goes on saying it."""
        if self._state.told_spare:
            return []
        text = spare_workers(len(self._state.workers), current.shards)
        self._state.told_spare = bool(text)
        return [Announce(Level.WARNING, text)] if text else []

    def _note_slow(self, current: OpenRound) -> None:
        """Mark the leases that take longer than others did."""
        if self._policy.backup_factor == 0:
            return
        for key in current.slow_leases.take(self._state.now):
            current.live[key].slow = True
            current.review(key)

    def _grant(self, current: OpenRound) -> Commands:
        """Lease waiting shards: those that failed first, then the others in order."""
        commands: Commands = []
        free = self._state.availability.free
        if not current.waits or not free:
            return commands
        for index in current.waits.failed():
            worker = self._choose_again(current, index) if free else None
            if worker is not None:
                commands += self._leases.grant(current, index, worker)
        while (untried := current.waits.first_untried()) is not None:
            worker = self._state.best_free(bounded=True)
            if worker is None:
                break
            commands += self._leases.grant(current, untried, worker)
        return commands

    def _choose_again(self, current: OpenRound, shard: int) -> WorkerRecord | None:
        """The worker for a shard that failed, as `policy.choose_worker` decides.

        While an identity is there that has not tried it, the choice is among those. An
        identity that has answered an audited shard is not asked again.
        """
        failures, heard = current.failures.get(shard, ()), current.heard(shard)
        tried = {failure.identity for failure in failures} | heard
        responsive = self._state.availability.responsive
        if len(responsive) > sum(identity in responsive for identity in tried):
            return self._state.best_free(tried, bounded=False)
        candidates = [
            each
            for each in self._state.candidates(bounded=False)
            if each.identity not in heard
        ]
        selected, _ = policy.choose_worker(candidates, failures)
        return None if selected is None else self._state.workers[selected]

    def _back_up(self, current: OpenRound) -> Commands:
        """Lease shards of slow leases to a second worker, if nothing else is to do.

        Audited shards that wait for a second identity do not count: it may be the one
        whose lease is slow.
        """
        commands: Commands = []
        free = self._state.availability.free
        if not current.to_back_up or not free:
            return commands
        if any(shard not in current.opinions for shard in current.waits):
            return commands
        for key in list(current.to_back_up):
            live = current.live[key]
            holder = self._state.workers[live.worker].info
            failures = current.failures.get(key.shard, ())
            heard = current.heard(key.shard)
            worker = self._state.best_backup(holder, failures, heard)
            if worker is None or (worker.straggler and not live.slow):
                continue  # one straggler would back up the other
            self._state.backups += 1
            commands += self._leases.grant(current, key.shard, worker, backup=True)
            commands += self._announce_backup(key, live, holder.name, worker.info.name)
            if not free:
                break
        return commands

    def _announce_backup(
        self, key: LeaseKey, live: LiveLease, holder: str, idle: str
    ) -> Commands:
        """Tell of a backup, unless leases are short: then the status counts them."""
        held_s = self._state.now - live.granted_at
        if held_s < self._policy.announce_s:
            return []
        text = (
            f"backup: {holder} has held {key} for {held_s:.1f} s, longer than usual, "
            f"and {idle} is idle; the first update counts"
        )
        return [Announce(Level.INFO, text, holder, key)]
