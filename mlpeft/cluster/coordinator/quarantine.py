"""Workers that fail shard after shard get no more of them for a while.

A worker process is quarantined when shards in a row failed on it and on nobody else:
computed with an error, refused by the gate, or late. A shard that fails elsewhere as
well is the shard's doing, and a lost connection is the network's; neither counts. An
update that counts ends the row.

Quarantine ends after a time (then one more failure brings it back), when an operator
says so, or with the process: whoever repairs a machine starts its worker anew.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeAlias

ShardName: TypeAlias = tuple[int, int]
"""Round and shard."""


@dataclass(slots=True)
class FailureRecord:
    """A worker process on which shards failed.

    Attributes:
        failed: Shards in a row that failed on it alone, with the reasons; oldest first.
        reason: Why it is quarantined; None: it is not.
        until: When the quarantine ends.
    """

    failed: dict[ShardName, str] = field(default_factory=dict)
    reason: str | None = None
    until: float = 0.0


class Quarantine:
    """Who is quarantined, and who may soon be.

    Args:
        after: Shards in a row that fail until a worker process is quarantined.
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
        """A shard failed on a process, and on nobody else so far.

        Returns:
            Why it is quarantined, if it is so from now on.
        """
        record = self._records.setdefault(process_id, FailureRecord())
        record.failed[shard] = reason
        if record.reason is not None or len(record.failed) < self._after:
            return None
        row = len(record.failed)
        shards = "a shard" if row == 1 else f"{row} shards in a row"
        record.reason = f"{shards} failed, last: {reason}"
        record.until = now + self._for_s
        return record.reason

    def excuse(self, shard: ShardName) -> list[str]:
        """A shard's failures are nobody's fault; the processes that this sets free."""
        free = []
        for process_id, record in self._records.items():
            record.failed.pop(shard, None)
            if record.reason is not None and len(record.failed) < self._after:
                record.reason = None
                free.append(process_id)
        return free

    def succeeded(self, process_id: str) -> bool:
        """An update of a process counted; whether this sets it free."""
        record = self._records.pop(process_id, None)
        return record is not None and record.reason is not None

    def release(self, process_id: str) -> bool:
        """An operator sets a process free; whether it was quarantined."""
        return self.succeeded(process_id)

    def next_release(self) -> float | None:
        """When the next quarantine ends; None: nobody is quarantined."""
        times = [c.until for c in self._records.values() if c.reason is not None]
        return min(times, default=None)

    def released(self, now: float) -> list[str]:
        """Processes whose time is over: free, but one more failure brings it back."""
        free = []
        for process_id, record in self._records.items():
            if record.reason is None or now < record.until:
                continue
            record.reason = None
            newest = list(record.failed.items())
            record.failed = dict(newest[len(newest) - self._after + 1 :])
            free.append(process_id)
        return free
