"""Who is a straggler: how long tasks take workers on average, beside each other.

The average is that of a worker's newest tasks, not their median: a worker that stands
still for nine tenths of the time may be fast most of the times. It is compared with the
lower quartile of all workers' averages, so that a few very fast or slow ones decide
nothing for the others. The quartile is read from a histogram with buckets that grow by
a fifth, which costs the same for ten workers and for ten thousand.
"""

from __future__ import annotations

from collections import Counter
from math import floor, log2
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mlpeft.cluster.protocol import WorkerId
    from mlpeft.work import Kind

STRAGGLER_RATIO = 3.0
"""A straggler takes so many times what the lower quartile takes."""
LEAST_MEAN_S = 1e-6
"""Shorter averages count as this: the histogram is logarithmic."""
BUCKETS = 4
"""Buckets of the histogram for each power of two."""


def bucket(mean_s: float) -> int:
    """The bucket of an average: `floor(BUCKETS * log2(mean_s))`."""
    return floor(BUCKETS * log2(max(mean_s, LEAST_MEAN_S)))


class Paces:
    """Average task times of workers."""

    def __init__(self) -> None:
        self._means: dict[WorkerId, dict[Kind, float]] = {}
        self._newest: dict[WorkerId, Kind] = {}
        self._counts: dict[Kind, Counter[int]] = {}
        self._quartiles: dict[Kind, float | None] = {}

    def note(self, worker: WorkerId, kind: Kind, mean_s: float) -> None:
        """A worker's average for a kind of shards is now `mean_s` seconds."""
        means = self._means.setdefault(worker, {})
        if kind in means:
            self._count(kind, means[kind], -1)
        means[kind] = mean_s
        self._newest[worker] = kind
        self._count(kind, mean_s, 1)

    def forget(self, worker: WorkerId) -> None:
        """A worker left."""
        self._newest.pop(worker, None)
        for kind, mean_s in self._means.pop(worker, {}).items():
            self._count(kind, mean_s, -1)

    def knows(self, worker: WorkerId) -> bool:
        """Whether there is an average of a worker."""
        return worker in self._newest

    def straggles(self, worker: WorkerId) -> bool:
        """Whether a worker is much slower than others at what it computed last."""
        kind = self._newest.get(worker)
        if kind is None:
            return False
        quartile_s = self.quartile_s(kind)
        mean_s = self._means[worker][kind]
        return quartile_s is not None and mean_s > STRAGGLER_RATIO * quartile_s

    def quartile_s(self, kind: Kind) -> float | None:
        """About the lower quartile of the averages for a kind; None: there is none."""
        if kind not in self._quartiles:
            self._quartiles[kind] = _quartile_s(self._counts.get(kind, Counter()))
        return self._quartiles[kind]

    def _count(self, kind: Kind, mean_s: float, change: int) -> None:
        counts = self._counts.setdefault(kind, Counter())
        counts[bucket(mean_s)] += change
        if not counts[bucket(mean_s)]:
            del counts[bucket(mean_s)]
        self._quartiles.pop(kind, None)


def _quartile_s(counts: Counter[int]) -> float | None:
    """The middle of the bucket of the lower quartile; None: nothing was counted."""
    left = (counts.total() - 1) // 4
    for number in sorted(counts):
        if left < counts[number]:
            return float(2.0 ** ((number + 0.5) / BUCKETS))
        left -= counts[number]
    return None
