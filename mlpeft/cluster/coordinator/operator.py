"""Executes an operator's requests: pause, resume, drain, release."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlpeft.cluster.messages import Announce, Level

if TYPE_CHECKING:
    from mlpeft.cluster.coordinator.failures import Failures
    from mlpeft.cluster.coordinator.membership import Membership
    from mlpeft.cluster.coordinator.messages import Commands, DrainRequested
    from mlpeft.cluster.coordinator.state import ClusterState


class OperatorRequests:
    """Executes an operator's requests; repeating a request changes nothing.

    Args:
        state: The coordinator's state.
        membership: The workers.
        failures: Who is quarantined.
    """

    def __init__(
        self, state: ClusterState, membership: Membership, failures: Failures
    ) -> None:
        self._state = state
        self._membership = membership
        self._failures = failures

    def pause(self, reason: str) -> Commands:
        """Stop granting leases."""
        if self._state.paused is not None:
            return []
        self._state.paused = reason
        text = f"paused: {reason}; leased shards are finished, no others start"
        return [Announce(Level.INFO, text)]

    def resume(self) -> Commands:
        """Grant leases again."""
        if self._state.paused is None:
            return []
        self._state.paused = None
        return [Announce(Level.INFO, "resumed")]

    def drain(self, event: DrainRequested) -> Commands:
        """Let a worker finish its shard and end."""
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
        """Grant a quarantined worker leases again."""
        workers = [self._state.workers[id_] for id_ in self._state.named(worker)]
        suspects = [suspect for each in workers for suspect in each.info.suspects]
        return self._failures.release(dict.fromkeys(suspects))
