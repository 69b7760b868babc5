"""What failed attempts mean: for their shard, their worker and its identity."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlpeft.cluster.coordinator.messages import Commands, Send
from mlpeft.cluster.messages import Announce, Level
from mlpeft.cluster.policy import Cause, Failure
from mlpeft.cluster.protocol import LeaseKey, Notice

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from mlpeft.cluster.coordinator.messages import WorkerJoined
    from mlpeft.cluster.coordinator.open_round import OpenRound
    from mlpeft.cluster.coordinator.state import ClusterState, WorkerRecord
    from mlpeft.cluster.policy import Policy


class Failures:
    """Counts failures, and withholds shards from those who fail.

    Args:
        state: The coordinator's state.
        policy: The parameters of decisions.
    """

    def __init__(self, state: ClusterState, policy: Policy) -> None:
        self._state = state
        self._policy = policy

    def count(
        self,
        current: OpenRound | None,
        worker: WorkerRecord,
        key: LeaseKey,
        cause: Cause,
        reason: str,
    ) -> Commands:
        """An attempt at a shard came to nothing.

        Args:
            current: The open round.
            worker: Whose attempt.
            key: Its lease.
            cause: The kind of failure.
            reason: The details.
        """
        worker.failures += 1
        self._state.failures[cause] += 1
        if current is None:
            return []
        info = worker.info
        failure = Failure(
            key.attempt, info.name, info.process_id, info.identity, cause, reason
        )
        history = current.add_failure(key.shard, failure)
        if cause is Cause.LOST:
            return []
        quarantine, shard = self._state.quarantine, (key.round_id, key.shard)
        counted = [each for each in history if each.cause is not Cause.LOST]
        if any(each.identity != info.identity for each in counted):
            return self._release(
                quarantine.excuse(shard), "its shards also fail elsewhere"
            )
        why, now = f"{cause.value}: {reason}", self._state.now
        processes = self._state.processes(info.identity)
        reasons = (
            quarantine.failed(info.process_id, shard, why, now),
            quarantine.failed(info.identity, shard, why, now, processes),
        )
        quarantined = reasons[0] or reasons[1]
        return [] if quarantined is None else self._tell(info, quarantined)

    def convict(self, info: WorkerJoined, reason: str) -> Commands:
        """An identity's update was shown to be wrong: quarantine it at once.

        Args:
            info: Whose; it may have left.
            reason: What shows it.
        """
        worker = self._state.workers.get(info.worker)
        if worker is not None:
            worker.failures += 1
        self._state.failures[Cause.REFUSED] += 1
        self._state.refused += 1
        self._state.quarantine.convict(info.identity, reason, self._state.now)
        return self._tell(info, reason)

    def _tell(self, info: WorkerJoined, quarantined: str) -> Commands:
        """Tell people and the worker that it is quarantined."""
        for suspect in self._state.availability.of(info.suspects):
            self._state.refresh(suspect)
        text = (
            f"worker {info.name} is quarantined for {self._policy.quarantine_s:g} s "
            f"and gets no shards: {quarantined}"
        )
        commands: Commands = [Announce(Level.WARNING, text, info.name)]
        if info.worker in self._state.workers:
            notice = Notice(f"quarantined, no shards for now: {quarantined}")
            commands.append(Send(info.worker, notice))
        return commands

    def succeeded(self, suspects: Collection[str]) -> Commands:
        """An update of these counted."""
        if not self._state.quarantine.succeeded(*suspects):
            return []
        return self._release(suspects, "an update counted")

    def excuse(self, key: LeaseKey) -> Commands:
        """A refused update of this shard was right after all: forget its failures."""
        released = self._state.quarantine.excuse((key.round_id, key.shard))
        return self._release(released, "its update was right")

    def release(self, suspects: Iterable[str]) -> Commands:
        """An operator releases quarantined processes and identities."""
        quarantine = self._state.quarantine
        released = [suspect for suspect in suspects if quarantine.release(suspect)]
        return self._release(released, "released by an operator")

    def _release(self, suspects: Collection[str], reason: str) -> Commands:
        """Announce released workers; `settle` grants them leases."""
        commands: Commands = []
        for worker_id in self._state.availability.of(tuple(suspects)):
            worker = self._state.workers[worker_id]
            self._state.refresh(worker_id)
            if self._state.quarantine.reason(*worker.info.suspects) is None:
                name = worker.info.name
                text = f"worker {name} is out of quarantine: {reason}"
                commands.append(Announce(Level.INFO, text, name))
                notice = Notice(f"out of quarantine: {reason}")
                commands.append(Send(worker.info.worker, notice))
        return commands

    def wakeups(self) -> list[float]:
        """Times at which `time_passed` must run."""
        released_at = self._state.quarantine.next_release()
        return [] if released_at is None else [released_at]

    def time_passed(self) -> Commands:
        """End quarantines."""
        released = self._state.quarantine.released(self._state.now)
        return self._release(released, "its time is over")
