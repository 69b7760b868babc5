"""Task times, lease durations and when a lease is slow."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from statistics import fmean, median
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mlpeft.work import Kind

WINDOW = 50
"""Number of recent task times to keep."""
LEAST_TIMES = 5
"""Task times needed for an estimate."""
NEWEST = 10
"""Number of task times of which a worker's average is made."""
LEAST_SPREAD = 0.1
"""Lower bound of the spread, in medians."""
BACKUP_MEDIANS = 3.0
"""A lease has no backup before it took so many times what is usual: on a busy machine a
task takes twice as long now and then."""
ROUND_SHARE = 0.05
"""Nor before it took this share of a round: a backup would gain less than that."""
LEAST_BACKUP_S = 0.005
"""Nor before so many seconds: a backup's messages take a while, too."""


@dataclass(frozen=True, slots=True)
class Usual:
    """The usual duration of a task.

    Attributes:
        median_s: Median of the task times.
        spread_s: `max(MAD, LEAST_SPREAD * median_s)`.
    """

    median_s: float
    spread_s: float

    def limit_s(self, factor: float) -> float:
        """`median + factor * spread`: seconds beyond which a task is slow."""
        return self.median_s + factor * self.spread_s


def usual(times_s: Sequence[float], least: int = LEAST_TIMES) -> Usual | None:
    """The usual duration given task times; None: fewer than `least` of them."""
    if len(times_s) < least:
        return None
    ordered = sorted(times_s)
    middle = median(ordered)
    # Of ordered times these fall and rise again, which is sorted in no time.
    deviation = median([abs(time_s - middle) for time_s in ordered])
    return Usual(middle, max(deviation, LEAST_SPREAD * middle))


def shard_limit_s(task: Usual, tasks: int, ahead: int, factor: float) -> float:
    """Seconds after which a lease takes unusually long.

    A worker computes its leases in turn, so those ahead count too, as equally large.

    Args:
        task: Usual duration of a task.
        tasks: Tasks of the shard.
        ahead: Leases that the worker already holds.
        factor: Spreads above the median that are usual.
    """
    return (ahead + 1) * tasks * task.limit_s(factor)


def lease_s(
    task: Usual | None,
    tasks: int,
    ahead: int,
    *,
    factor: float,
    least_s: float,
    most_s: float,
) -> float:
    """Duration of a lease in seconds, from its grant.

    Args:
        task: Usual duration of a task; None: unknown, and the lease lasts `most_s`.
        tasks: Tasks of the shard.
        ahead: Leases that the worker already holds.
        factor: Spreads above the median that are usual.
        least_s: Lower bound.
        most_s: Upper bound; it overrides `least_s`.
    """
    if task is None:
        return most_s
    return min(max(shard_limit_s(task, tasks, ahead, factor), least_s), most_s)


class TaskTimes:
    """Recent task times by kind of shard: scoring and training differ."""

    def __init__(self) -> None:
        self._times: dict[Kind, deque[float]] = {}
        self._usual: dict[Kind, Usual | None] = {}  # since the newest time

    def add(self, kind: Kind, task_s: float) -> None:
        """Add the time of a task."""
        self._times.setdefault(kind, deque(maxlen=WINDOW)).append(task_s)
        self._usual.pop(kind, None)

    def mean_s(self, kind: Kind) -> float:
        """The average of the newest times of a kind; there must be one."""
        return fmean(self.of(kind)[-NEWEST:])

    def usual(self, kind: Kind, least: int = LEAST_TIMES) -> Usual | None:
        """What is usual for a kind; None: fewer than `least` times are known."""
        times = self._times.get(kind, ())
        if len(times) < least:
            return None
        if kind not in self._usual:
            self._usual[kind] = usual(times, least=1)
        return self._usual[kind]

    def of(self, kind: Kind) -> tuple[float, ...]:
        """Times of a kind, oldest first."""
        return tuple(self._times.get(kind, ()))


def usual_of(kind: Kind, worker: TaskTimes, everybody: TaskTimes) -> Usual | None:
    """The usual task duration on a worker: by its own times, else by all workers'.

    Args:
        kind: Kind of the shard.
        worker: The worker's times.
        everybody: The newest times of all workers together.
    """
    return worker.usual(kind) or everybody.usual(kind)


def backup_limit_s(kind: Kind, everybody: TaskTimes, factor: float) -> float | None:
    """Seconds that a task may take before an idle worker gets its shard as well.

    `median + max(factor * spread, (BACKUP_MEDIANS - 1) * median)` of the newest tasks,
    whoever computed them: a worker that often stands still hides it from its own
    median. One shard that is in is enough, so that it works in a first round.

    Args:
        kind: Kind of the shard.
        everybody: The newest times of all workers together, but for stragglers.
        factor: Spreads above the median that are usual.

    Returns:
        The limit; None: no time is known yet.
    """
    task = everybody.usual(kind, least=1)
    if task is None:
        return None
    return max(task.limit_s(factor), BACKUP_MEDIANS * task.median_s)
