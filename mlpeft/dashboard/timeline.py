"""Which worker computed which shard when: bars in bounded memory."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mlpeft.cluster.protocol import LeaseKey, WorkerId

MOST_BARS: Final = 4000
"""Shards that are remembered."""

Outcome: TypeAlias = Literal[
    "open", "in", "refused", "failed", "returned", "revoked", "lost", "ended"
]


@dataclass(slots=True)
class Bar:
    """One attempt at one shard.

    Attributes:
        number: Grows with each change, over all bars: what changed is sent.
        worker: The connection.
        key: The attempt.
        start: Unix time of the grant.
        computing: Unix time from which it is adapted to; None: theta is on its way.
        sending: Unix time at which its update began to come; None: not yet.
        end: Unix time of its end; None: under way.
        backup: Whether it is a backup of another worker's lease.
        outcome: How it ended.
    """

    number: int
    worker: WorkerId
    key: LeaseKey
    start: float
    computing: float | None
    sending: float | None = None
    end: float | None = None
    backup: bool = False
    outcome: Outcome = "open"


class Timeline:
    """The newest bars, and those that are open."""

    def __init__(self) -> None:
        self.closed: deque[Bar] = deque(maxlen=MOST_BARS)
        self.open: dict[LeaseKey, Bar] = {}
        self._numbers = 0
        self._shards: dict[tuple[str, int, int], int] = {}  # open leases of a shard

    @property
    def number(self) -> int:
        """Of the newest change."""
        return self._numbers

    def begin(
        self,
        worker: WorkerId,
        key: LeaseKey,
        now: float,
        *,
        backup: bool | None = None,
        theta: bool = False,
    ) -> Bar:
        """A shard was leased.

        Args:
            worker: To whom.
            key: The attempt.
            now: Unix time.
            backup: Whether another lease of it is open; None: as known here.
            theta: Whether theta is still on its way to the worker.
        """
        shard = key[:3]
        others = self._shards.get(shard, 0)
        self._shards[shard] = others + 1
        bar = Bar(
            self._next(),
            worker,
            key,
            now,
            None if theta else now,
            backup=others > 0 if backup is None else backup,
        )
        self.open[key] = bar
        return bar

    def end(self, key: LeaseKey, now: float, outcome: Outcome) -> None:
        """An attempt ended; one that is not known is ignored."""
        bar = self.open.pop(key, None)
        if bar is None:
            return
        shard = key[:3]
        left = self._shards.get(shard, 1) - 1
        if left > 0:
            self._shards[shard] = left
        else:
            self._shards.pop(shard, None)
        bar.end, bar.outcome, bar.number = now, outcome, self._next()
        self.closed.append(bar)

    def end_all(
        self, now: float, outcome: Outcome, worker: WorkerId | None = None
    ) -> None:
        """All attempts ended, or all of a worker."""
        keys = [k for k, bar in self.open.items() if worker in (None, bar.worker)]
        for key in keys:
            self.end(key, now, outcome)

    def computes(self, worker: WorkerId, now: float) -> None:
        """Theta has arrived at a worker."""
        for bar in self.open.values():
            if bar.worker == worker and bar.computing is None:
                bar.computing, bar.number = now, self._next()

    def sends(self, key: LeaseKey, now: float) -> None:
        """An update begins to come."""
        bar = self.open.get(key)
        if bar is not None and bar.sending is None:
            bar.sending, bar.number = now, self._next()

    def changed_since(self, number: int) -> Iterator[Bar]:
        """Bars that changed after a number, oldest change first."""
        newer = []
        for bar in reversed(self.closed):
            if bar.number <= number:
                break
            newer.append(bar)
        yield from reversed(newer)
        yield from (bar for bar in self.open.values() if bar.number > number)

    def _next(self) -> int:
        self._numbers += 1
        return self._numbers
