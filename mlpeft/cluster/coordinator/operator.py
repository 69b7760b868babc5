"""What an operator asks of a running cluster: pause, resume, drain, release."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlpeft.cluster.messages import Announce, Level

if TYPE_CHECKING:
    from mlpeft.cluster.coordinator.leases import Commands, Leases
    from mlpeft.cluster.coordinator.membership import Roster
    from mlpeft.cluster.coordinator.messages import DrainRequested
    from mlpeft.cluster.coordinator.state import Books


class Steering:
    """Does what an operator asks; asked twice, it is done once.

    Args:
        books: What the coordinator knows.
        roster: The workers.
        leases: Their leases.
    """

    def __init__(self, books: Books, roster: Roster, leases: Leases) -> None:
        self._books = books
        self._roster = roster
        self._leases = leases

    def pause(self, reason: str) -> Commands:
        """No more leases are granted."""
        if self._books.paused is not None:
            return []
        self._books.paused = reason
        text = f"paused: {reason}; shards in hand are finished, no others begin"
        return [Announce(Level.INFO, text)]

    def resume(self) -> Commands:
        """Leases are granted again."""
        if self._books.paused is None:
            return []
        self._books.paused = None
        return [Announce(Level.INFO, "resumed")]

    def drain(self, event: DrainRequested) -> Commands:
        """A worker is to finish what it has in hand and end."""
        commands: Commands = []
        for worker_id in self._books.named(event.worker):
            info = self._books.workers[worker_id].info
            if info.incarnation in self._books.drained:
                continue
            self._books.drained[info.incarnation] = event.reason
            text = f"worker {info.name} is drained: {event.reason}"
            commands.append(Announce(Level.INFO, text, info.name))
            commands += self._roster.drain(worker_id)
        return commands

    def release(self, worker: str) -> Commands:
        """A quarantined worker gets leases again."""
        named = [self._books.workers[one].info for one in self._books.named(worker)]
        return self._leases.release([info.incarnation for info in named])
