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
class Conduct:
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
        self._conduct: dict[str, Conduct] = {}

    def reason(self, incarnation: str) -> str | None:
        """Why a process is quarantined; None: it is not."""
        conduct = self._conduct.get(incarnation)
        return conduct.reason if conduct else None

    def failed(
        self, incarnation: str, shard: ShardName, reason: str, now: float
    ) -> str | None:
        """A shard failed on a process, and on nobody else so far.

        Returns:
            Why it is quarantined, if it is so from now on.
        """
        conduct = self._conduct.setdefault(incarnation, Conduct())
        conduct.failed[shard] = reason
        if conduct.reason is not None or len(conduct.failed) < self._after:
            return None
        row = len(conduct.failed)
        shards = "a shard" if row == 1 else f"{row} shards in a row"
        conduct.reason = f"{shards} failed, last: {reason}"
        conduct.until = now + self._for_s
        return conduct.reason

    def excuse(self, shard: ShardName) -> list[str]:
        """A shard's failures are nobody's fault; the processes that this sets free."""
        free = []
        for incarnation, conduct in self._conduct.items():
            conduct.failed.pop(shard, None)
            if conduct.reason is not None and len(conduct.failed) < self._after:
                conduct.reason = None
                free.append(incarnation)
        return free

    def succeeded(self, incarnation: str) -> bool:
        """An update of a process counted; whether this sets it free."""
        conduct = self._conduct.pop(incarnation, None)
        return conduct is not None and conduct.reason is not None

    def release(self, incarnation: str) -> bool:
        """An operator sets a process free; whether it was quarantined."""
        return self.succeeded(incarnation)

    def next_release(self) -> float | None:
        """When the next quarantine ends; None: nobody is quarantined."""
        times = [c.until for c in self._conduct.values() if c.reason is not None]
        return min(times, default=None)

    def released(self, now: float) -> list[str]:
        """Processes whose time is over: free, but one more failure brings it back."""
        free = []
        for incarnation, conduct in self._conduct.items():
            if conduct.reason is None or now < conduct.until:
                continue
            conduct.reason = None
            newest = list(conduct.failed.items())
            conduct.failed = dict(newest[len(newest) - self._after + 1 :])
            free.append(incarnation)
        return free
