"""Withholds shards from workers that fail repeatedly.

A worker process is quarantined after several consecutive shards failed on it and on no
other identity: with an error, refused, or late. So is an identity after as many for
each of its connected processes: who starts a new process for each failure is held to
them, and one broken process does not stop its siblings. A shard that also fails
elsewhere is to blame itself, and a lost connection is the network's fault; neither
counts. An accepted update resets the count.

An identity whose update was shown to be wrong, as two others found another, is
quarantined at once (`audits`).

Quarantine ends after a time (then one more failure renews it), or on an operator's
request.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeAlias

from mlpeft.cluster.coordinator.deadlines import Deadlines

MOST_SUSPECTS = 10_000
"""Suspects that are remembered: a process id costs nothing."""
ShardName: TypeAlias = tuple[int, int]
"""Round id and shard index."""


@dataclass(slots=True)
class FailureRecord:
    """The failures of a worker process, or of an identity.

    Attributes:
        failed: Consecutive shards that failed on it alone, with reasons; oldest first.
        reason: Why it is quarantined; None: it is not.
        until: When the quarantine ends.
        after: How many failed shards it takes.
        convicted: Whether others have shown that it computes something else. Then
            neither a success nor an excuse ends the quarantine: an update that nobody
            compared says nothing.
    """

    failed: dict[ShardName, str] = field(default_factory=dict)
    reason: str | None = None
    until: float = 0.0
    after: int = 1
    convicted: bool = False


class Quarantine:
    """Counts failures by process and identity, and decides who is quarantined.

    A suspect is the id of a process, or an identity.

    Args:
        after: Consecutive failed shards that quarantine a process.
        for_s: Seconds that a quarantine lasts.
    """

    def __init__(self, after: int, for_s: float) -> None:
        self._after = after
        self._for_s = for_s
        self._records: dict[str, FailureRecord] = {}
        self._releases: Deadlines[str] = Deadlines(self._until)

    def reason(self, *suspects: str) -> str | None:
        """Why one of these is quarantined; None: none is."""
        if not self._records:
            return None
        records = (self._records.get(suspect) for suspect in suspects)
        reasons = (record.reason for record in records if record)
        return next((reason for reason in reasons if reason is not None), None)

    def failed(
        self,
        suspect: str,
        shard: ShardName,
        reason: str,
        now: float,
        processes: int = 1,
    ) -> str | None:
        """A shard failed on a suspect, and on no other identity so far.

        Args:
            suspect: On which.
            shard: Which one.
            reason: Why.
            now: The time in seconds.
            processes: How many processes it has.

        Returns:
            Why the suspect is now quarantined; None if it is not, or was before.
        """
        record = self._records.setdefault(suspect, FailureRecord())
        if len(self._records) > MOST_SUSPECTS:
            self._forget()
        record.failed[shard] = reason
        record.after = self._after * max(1, processes)
        if record.reason is not None or len(record.failed) < record.after:
            return None
        count = len(record.failed)
        shards = "a shard" if count == 1 else f"{count} shards in a row"
        self._withhold(suspect, record, f"{shards} failed, last: {reason}", now)
        return record.reason

    def convict(self, suspect: str, reason: str, now: float) -> None:
        """Quarantine a suspect at once; only time or an operator releases it.

        Args:
            suspect: Whose update was shown to be wrong.
            reason: What shows it.
            now: The time in seconds.
        """
        record = self._records.setdefault(suspect, FailureRecord())
        record.convicted = True
        self._withhold(suspect, record, reason, now)

    def _withhold(
        self, suspect: str, record: FailureRecord, reason: str, now: float
    ) -> None:
        record.reason = reason
        record.until = now + self._for_s
        self._releases.add(suspect)

    def _forget(self) -> None:
        """Drop the oldest half of those who are not quarantined."""
        free = [each for each, record in self._records.items() if record.reason is None]
        for suspect in free[: len(free) // 2]:
            del self._records[suspect]

    def excuse(self, shard: ShardName) -> list[str]:
        """Forget the failures of a shard; the suspects that this releases."""
        released = []
        for suspect, record in self._records.items():
            record.failed.pop(shard, None)
            if record.convicted or record.reason is None:
                continue
            if len(record.failed) < record.after:
                record.reason = None
                released.append(suspect)
        return released

    def succeeded(self, *suspects: str) -> bool:
        """An update of these was accepted; whether this releases one."""
        return self.release(*(each for each in suspects if not self._convicted(each)))

    def _convicted(self, suspect: str) -> bool:
        record = self._records.get(suspect)
        return record is not None and record.convicted

    def release(self, *suspects: str) -> bool:
        """An operator releases these; whether one was quarantined."""
        records = [self._records.pop(suspect, None) for suspect in suspects]
        return any(record and record.reason is not None for record in records)

    def next_release(self) -> float | None:
        """When the next quarantine ends; None: nobody is quarantined."""
        return self._releases.next()

    def _until(self, suspect: str) -> float | None:
        """When a suspect's quarantine ends; None: it is not quarantined."""
        record = self._records.get(suspect)
        return None if record is None or record.reason is None else record.until

    def released(self, now: float) -> list[str]:
        """Release suspects whose time is over; one more failure renews it."""
        released = self._releases.take(now)
        for suspect in released:
            record = self._records[suspect]
            record.reason, record.convicted = None, False
            newest = list(record.failed.items())
            record.failed = dict(newest[len(newest) - record.after + 1 :])
        return released
