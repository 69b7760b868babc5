"""What comes back from workers: updates are checked and counted, or leases fail."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

from mlpeft.cluster import validation
from mlpeft.cluster.coordinator.audits import Auditor, Opinion
from mlpeft.cluster.coordinator.outliers import Verdict
from mlpeft.cluster.messages import Announce, Level
from mlpeft.cluster.policy import Cause
from mlpeft.work import Kind

if TYPE_CHECKING:
    from collections.abc import Callable

    from mlpeft.cluster.coordinator.closing import Closing
    from mlpeft.cluster.coordinator.failures import Failures
    from mlpeft.cluster.coordinator.leases import Leases
    from mlpeft.cluster.coordinator.messages import Commands
    from mlpeft.cluster.coordinator.open_round import LiveLease, OpenRound
    from mlpeft.cluster.coordinator.state import ClusterState, WorkerRecord
    from mlpeft.cluster.policy import Policy
    from mlpeft.cluster.protocol import LeaseKey, LeaseReturn, Update, WorkerId
    from mlpeft.work import Shard, ShardUpdate


class Turn(StrEnum):
    """What becomes of an update whose head has come."""

    NOW = "now"
    """Read it."""
    LATER = "later"
    """Leave it on the line; ask again."""
    NEVER = "never"
    """Pass it over: it would not count."""


def turn(
    current: OpenRound,
    shard: int,
    comes_before: Callable[[LiveLease], bool],
    room_bytes: int,
) -> Turn:
    """The turn of an update that would count.

    Args:
        current: The open round.
        shard: The update's.
        comes_before: Whether what a lease of an earlier shard returns can be read
            without reading this update first.
        room_bytes: What updates that cannot be summed yet may take.
    """
    ordered_sum = current.updates.ordered_sum
    if ordered_sum is None:
        return Turn.NOW
    early = room_bytes // max(1, current.payload_bytes)
    if shard <= ordered_sum.done + early:
        return Turn.NOW
    # The first missing shard is nearly always leased, and the search is over.
    before = any(
        comes_before(live)
        for earlier in range(ordered_sum.done, shard)
        for live in current.live_for(earlier)
    )
    return Turn.LATER if before else Turn.NOW


class UpdateHandler:
    """Takes in updates and returned leases.

    Args:
        state: What the coordinator knows.
        policy: The parameters of decisions.
        leases: Those that are answered.
        failures: Who is quarantined.
        closing: Closes rounds.
    """

    def __init__(
        self,
        state: ClusterState,
        policy: Policy,
        leases: Leases,
        failures: Failures,
        closing: Closing,
    ) -> None:
        self._state = state
        self._policy = policy
        self._leases = leases
        self._failures = failures
        self._closing = closing
        self._auditor = Auditor(state, policy, leases, failures, self._accept)

    def update(self, worker: WorkerRecord, event: Update) -> Commands:
        """An update came: it counts, is refused, or is no longer wanted."""
        took_s = self._leases.let_go(worker, event.key)
        current = self._wanting(event.key)
        if current is None:
            return []
        shard = current.shards[event.key.shard]
        try:
            refused = self._refusal(current, shard, event, worker.info.process_id)
            if event.update is None or refused is not None:
                return self._refuse(worker, event.key, refused or "it is not there")
            verdict = self._judge(current, event.key, event.update, worker)
        except Exception as error:  # noqa: BLE001 - what cannot be checked cannot count
            text = f"it cannot be checked ({type(error).__name__}: {error})"
            return self._refuse(worker, event.key, text)
        if verdict.reject_reason is not None:
            return self._refuse(worker, event.key, verdict.reject_reason)
        commands = self._clear(event.key, worker, verdict)
        if took_s is not None:
            self._leases.took(worker, shard.kind, took_s / len(shard.tasks))
        opinion = Opinion(worker.info, event.key, event.update)
        if event.key.shard in current.audited and not verdict.confirmed:
            return commands + self._auditor.hear(current, opinion)
        current.close_audit(event.key.shard)
        return commands + self._accept(current, opinion)

    def settle(self) -> Commands:
        """After any event: end audits for which nobody is left to ask."""
        return self._auditor.settle()

    def _accept(self, current: OpenRound, opinion: Opinion) -> Commands:
        """An update counts; it may complete the round."""
        self._state.counted += 1
        if current is not self._state.round:
            self._closing.accept_late(current, opinion.update)
            return self._leases.came_in(current, opinion.worker, opinion.key.shard)
        current.count(opinion.update, opinion.worker.identity)
        commands = self._leases.came_in(current, opinion.worker, opinion.key.shard)
        if len(current.updates) < len(current.shards):
            return commands
        return commands + self._closing.close(current)

    def turn(self, worker_id: WorkerId, key: LeaseKey, room_bytes: int) -> Turn:
        """Whether an update whose head has come is to be read now.

        Args:
            worker_id: On whose stream.
            key: The lease that it answers.
            room_bytes: As in `turn`.
        """
        worker, current = self._state.workers.get(worker_id), self._wanting(key)
        if worker is None or current is None:
            return Turn.NEVER
        if current.granted.get(key) != worker.info.process_id:
            return Turn.NEVER
        if current.closes_early:  # nobody waits for those before it
            return Turn.NOW

        def comes_before(live: LiveLease) -> bool:
            held_back = self._state.workers[live.worker].held_back
            return live.worker != worker_id and held_back in {None, live.lease.key}

        due = turn(current, key.shard, comes_before, room_bytes)
        if due is Turn.LATER and worker.held_back == key:
            return Turn.NOW if self._frees_the_line(current) else due
        return due

    def _frees_the_line(self, current: OpenRound) -> bool:
        """Whether an update is read early because its worker is needed for a backup.

        All that could back up a slow lease may wait behind it with large updates. One
        that is read takes memory for one more, and its worker gets the backup.
        """
        if current.read_early in current.live:
            return False
        idle = self._state.availability.free
        return bool(current.to_back_up) and not current.waits and not idle

    def returned(self, worker: WorkerRecord, event: LeaseReturn) -> Commands:
        """A lease came back without an update."""
        self._leases.let_go(worker, event.key)
        if not self._leases.is_live(worker, event.key):
            return []
        if not event.failed:
            self._leases.drop(event.key)
            return []
        name = worker.info.name
        text = f"worker {name} failed at {event.key}: {event.reason}"
        return [
            Announce(Level.WARNING, text, name, event.key),
            *self._leases.failed(worker, event.key, Cause.FAILED, event.reason),
        ]

    def _wanting(self, key: LeaseKey) -> OpenRound | None:
        """The round to which an update of this shard would still be of use.

        To one that has closed it is while a lease of the shard goes on.
        """
        current = self._state.round_of(key)
        if current is None or not 0 <= key.shard < len(current.shards):
            return None
        if current is not self._state.round:
            return current if current.keys_for(key.shard) else None
        return None if key.shard in current.updates else current

    def _refuse(self, worker: WorkerRecord, key: LeaseKey, refused: str) -> Commands:
        self._state.refused += 1
        text = f"update of {key} by worker {worker.info.name} refused: {refused}"
        commands: Commands = [Announce(Level.WARNING, text, worker.info.name, key)]
        if self._leases.is_live(worker, key):
            commands += self._leases.failed(worker, key, Cause.REFUSED, refused)
        return commands

    def _refusal(
        self, current: OpenRound, shard: Shard, event: Update, process_id: str
    ) -> str | None:
        """Why an update may not count, or None if it may."""
        if event.fault:
            return event.fault
        if current.granted.get(event.key) != process_id:
            return "it answers a lease that this worker was not given"
        if event.version != current.version:
            return (
                f"it started from theta version {event.version}, expected "
                f"{current.version}"
            )
        if event.update is None:
            return None
        return validation.reject_reason(
            shard, current.schema, self._policy.results, event.update
        )

    def _judge(
        self,
        current: OpenRound,
        key: LeaseKey,
        update: ShardUpdate,
        worker: WorkerRecord,
    ) -> Verdict:
        """Whether the displacement by an update that is sound is like others'."""
        check = current.outliers
        if check is None or current.shards[key.shard].kind is not Kind.TRAIN:
            return Verdict()
        alone = len(self._state.availability.able) <= 1
        return check.judge(update, key.attempt, worker.info.identity, alone=alone)

    def _clear(self, key: LeaseKey, worker: WorkerRecord, verdict: Verdict) -> Commands:
        """Whoever found an outlier that is confirmed did not fail."""
        if not verdict.confirmed:
            return []
        found = [
            self._state.workers[other]
            for identity in verdict.confirmed
            for other in self._state.availability.by_identity.get(identity, ())
        ]
        for other in found:
            other.failures = max(0, other.failures - 1)
        names = " and ".join(
            dict.fromkeys(other.info.name for other in [*found, worker])
        )
        text = f"{key} is unusual but right: {names} agree"
        return [Announce(Level.INFO, text, key=key), *self._failures.excuse(key)]
