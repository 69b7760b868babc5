"""Withholds shards from workers that fail repeatedly.

A worker process is quarantined after several consecutive shards failed on it and on no
other: with an error, refused, or late. A shard that also fails elsewhere is to blame
itself, and a lost connection is the network's fault; neither counts. An accepted update
resets the count.

Quarantine ends after a time (then one more failure renews it), on an operator's
request, or with the process: after a repair, restart the worker.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeAlias

ShardName: TypeAlias = tuple[int, int]
"""Round id and shard index."""


@dataclass(slots=True)
class FailureRecord:
    """The failures of a worker process.

    Attributes:
        failed: Consecutive shards that failed on it alone, with reasons; oldest first.
        reason: Why it is quarantined; None: it is not.
        until: When the quarantine ends.
    """

    failed: dict[ShardName, str] = field(default_factory=dict)
    reason: str | None = None
    until: float = 0.0


class Quarantine:
    """Counts failures by worker process, and decides who is quarantined.

    Args:
        after: Consecutive failed shards that quarantine a process.
        for_s: Seconds that a quarantine lasts.
    """

    def __init__(self, after: int, for_s: float) -> None:
        self._after = after
        self._for_s = for_s
        self._records: dict[str, FailureRecord] = {}

    def reason(self, process_id: str) -> str | None:
        """Why a process is quarantined; None: it is not."""
        record = self._records.get(process_id)
        return record.reason if record else None

    def failed(
        self, process_id: str, shard: ShardName, reason: str, now: float
    ) -> str | None:
        """A shard failed on a process, and on no other so far.

        Returns:
            Why the process is now quarantined; None if it is not, or was before.
        """
        record = self._records.setdefault(process_id, FailureRecord())
        record.failed[shard] = reason
        if record.reason is not None or len(record.failed) < self._after:
            return None
        count = len(record.failed)
        shards = "a shard" if count == 1 else f"{count} shards in a row"
        record.reason = f"{shards} failed, last: {reason}"
        record.until = now + self._for_s
        return record.reason

    def excuse(self, shard: ShardName) -> list[str]:
        """Forget the failures of a shard; the processes that this releases."""
        released = []
        for process_id, record in self._records.items():
            record.failed.pop(shard, None)
            if record.reason is not None and len(record.failed) < self._after:
                record.reason = None
                released.append(process_id)
        return released

    def succeeded(self, process_id: str) -> bool:
        """An update of a process was accepted; whether this releases it."""
        record = self._records.pop(process_id, None)
        return record is not None and record.reason is not None

    def release(self, process_id: str) -> bool:
        """An operator releases a process; whether it was quarantined."""
        return self.succeeded(process_id)

    def next_release(self) -> float | None:
        """When the next quarantine ends; None: nobody is quarantined."""
        quarantined = (r for r in self._records.values() if r.reason is not None)
        return min((record.until for record in quarantined), default=None)

    def released(self, now: float) -> list[str]:
        """Release processes whose time is over; one more failure renews it."""
        released = []
        for process_id, record in self._records.items():
            if record.reason is None or now < record.until:
                continue
            record.reason = None
            newest = list(record.failed.items())
            record.failed = dict(newest[len(newest) - self._after + 1 :])
            released.append(process_id)
        return released
