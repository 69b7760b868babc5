"""What an operator asks of a running cluster: pause, resume, drain, release."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlpeft.cluster.messages import Announce, Level

if TYPE_CHECKING:
    from mlpeft.cluster.coordinator.leases import Commands, Leases
    from mlpeft.cluster.coordinator.membership import Membership
    from mlpeft.cluster.coordinator.messages import DrainRequested
    from mlpeft.cluster.coordinator.state import ClusterState


class OperatorRequests:
    """Does what an operator asks; asked twice, it is done once.

    Args:
        state: What the coordinator knows.
        membership: The workers.
        leases: Their leases.
    """

    def __init__(
        self, state: ClusterState, membership: Membership, leases: Leases
    ) -> None:
        self._state = state
        self._membership = membership
        self._leases = leases

    def pause(self, reason: str) -> Commands:
        """No more leases are granted."""
        if self._state.paused is not None:
            return []
        self._state.paused = reason
        text = f"paused: {reason}; shards in hand are finished, no others begin"
        return [Announce(Level.INFO, text)]

    def resume(self) -> Commands:
        """Leases are granted again."""
        if self._state.paused is None:
            return []
        self._state.paused = None
        return [Announce(Level.INFO, "resumed")]

    def drain(self, event: DrainRequested) -> Commands:
        """A worker is to finish what it has in hand and end."""
        commands: Commands = []
        for worker_id in self._state.named(event.worker):
            info = self._state.workers[worker_id].info
            if info.process_id in self._state.drained:
                continue
            self._state.drained[info.process_id] = event.reason
            text = f"worker {info.name} is drained: {event.reason}"
            commands.append(Announce(Level.INFO, text, info.name))
            commands += self._membership.drain(worker_id)
        return commands

    def release(self, worker: str) -> Commands:
        """A quarantined worker gets leases again."""
        named = [self._state.workers[one].info for one in self._state.named(worker)]
        return self._leases.release([info.process_id for info in named])
