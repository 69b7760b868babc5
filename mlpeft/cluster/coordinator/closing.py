"""When a round closes, and what becomes of the shards that are not in by then.

A round closes with its last shard. One that need not wait closes when it has as many
updates as it needs, and a time of grace has passed; leases that are live then go on,
and their updates count in a later round: `late`, at most `max_staleness` versions of
theta after their own. Nothing else of a closed round counts, so it keeps its leases and
what they are checked by.

An audited shard is never late, since two identities must agree on it in time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlpeft.cluster.coordinator.messages import Commands, CompleteRound
from mlpeft.cluster.policy import LateResult
from mlpeft.rounds import LateUpdate, RoundUpdates

if TYPE_CHECKING:
    from mlpeft.cluster.coordinator.leases import Leases
    from mlpeft.cluster.coordinator.open_round import OpenRound
    from mlpeft.cluster.coordinator.state import ClusterState
    from mlpeft.cluster.policy import Policy
    from mlpeft.work import ShardUpdate


class Closing:
    """Closes rounds.

    Args:
        state: What the coordinator knows.
        policy: The parameters of decisions.
        leases: The workers' leases.
    """

    def __init__(self, state: ClusterState, policy: Policy, leases: Leases) -> None:
        self._state = state
        self._policy = policy
        self._leases = leases

    def opened(self) -> Commands:
        """A round was opened: what is late by too many versions counts no more."""
        version = self._state.version
        if version is None:
            return []
        reason = f"late by more than {self._policy.max_staleness} versions of theta"
        return self._leases.forget_late(reason, version - self._policy.max_staleness)

    def accept_late(self, late: OpenRound, update: ShardUpdate) -> None:
        """An update of a closed round counts."""
        number = late.shards[update.index].round
        self._state.late_updates.append(LateUpdate(number, update))

    def settle(self, *, may_close: bool) -> Commands:
        """After any event: note whether the round has enough, and close it if it may.

        Args:
            may_close: Whether it is an event with which a round may end.
        """
        state, current = self._state, self._state.round
        for round_id in [key for key, late in state.late.items() if not late.live]:
            del state.late[round_id]
        if current is None or not current.closes_early:
            return []
        have = len(current.updates)
        if self._policy.late_counts:
            have += len(state.late_updates)
        if have < current.need:
            return []
        if current.enough_at is None:
            current.enough_at = state.now
        if not may_close or state.now < current.enough_at + self._policy.grace_s:
            return []
        return self.close(current)

    def wakeups(self) -> list[float]:
        """Times at which a round may close."""
        current = self._state.round
        if current is None or current.enough_at is None:
            return []
        return [current.enough_at + self._policy.grace_s]

    def close(self, current: OpenRound) -> Commands:
        """The round is over: give out what it has."""
        state = self._state
        state.round = None
        kind, round_s = current.shards[0].kind, state.now - current.opened_at
        state.round_times.add(kind, round_s)
        if current.outliers is not None:
            state.norms.add(current.outliers.norms(current.counted_for))
        late: list[LateUpdate] = []
        if current.closes_early:  # else it is no training round, or all rounds wait
            late, state.late_updates = state.late_updates, []
        state.late_results[LateResult.COUNTED] += len(late)
        result = current.updates.result(early=current.closes_early, late=late)
        commands = self._go_on(current)
        return [*commands, CompleteRound(current.round_id, result)]

    def _go_on(self, closed: OpenRound) -> Commands:
        """Let the leases that may be late go on, and revoke the others."""
        keys = [
            key
            for key in closed.live
            if self._policy.max_staleness == 0 or key.shard in closed.audited
        ]
        closed.updates = RoundUpdates(summed=False)  # they are given out
        self._state.late[closed.round_id] = closed
        commands = self._leases.drop_late(closed, "its round has closed", keys)
        if not closed.live:
            del self._state.late[closed.round_id]
        return commands
