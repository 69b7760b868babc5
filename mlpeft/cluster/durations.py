"""How long a task usually takes, and how long a lease may last. Pure functions.

The usual time is the median of recent task times, its spread their median absolute
deviation (MAD; Hampel, "The Influence Curve and Its Role in Robust Estimation", 1974):
one task that had to wait for a compiler moves neither.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from mlpeft.work import Kind

WINDOW = 50
"""Newest task times that count."""
LEAST_TIMES = 5
"""Fewer say too little about what is usual."""
LEAST_SPREAD = 0.1
"""Spread, in medians, that is granted where all times are nearly the same."""


@dataclass(frozen=True, slots=True)
class Usual:
    """What a task usually takes.

    Attributes:
        median_s: Half of the tasks take longer.
        spread_s: MAD, or `LEAST_SPREAD * median_s` if that is more.
    """

    median_s: float
    spread_s: float

    def limit_s(self, factor: float) -> float:
        """`median + factor * spread`: seconds beyond which a task is not usual."""
        return self.median_s + factor * self.spread_s


def usual(times_s: Sequence[float]) -> Usual | None:
    """What tasks with these times usually take; None: too few to say."""
    if len(times_s) < LEAST_TIMES:
        return None
    middle = median(times_s)
    deviation = median(abs(time_s - middle) for time_s in times_s)
    return Usual(middle, max(deviation, LEAST_SPREAD * middle))


def shard_limit_s(task: Usual, tasks: int, ahead: int, factor: float) -> float:
    """Seconds after which a lease takes longer than is usual.

    A worker computes its leases one after another, so those ahead count, too; they are
    taken to be as large.

    Args:
        task: What a task usually takes.
        tasks: Tasks of the shard.
        ahead: Leases that the worker holds already.
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
    """Seconds that a lease may last, from its grant.

    Args:
        task: What a task usually takes; None: not known, and the lease gets `most_s`.
        tasks: Tasks of the shard.
        ahead: Leases that the worker holds already.
        factor: Spreads above the median that are usual.
        least_s: At least so long.
        most_s: At most so long, whatever `least_s` says.
    """
    if task is None:
        return most_s
    return min(max(shard_limit_s(task, tasks, ahead, factor), least_s), most_s)


class TaskTimes:
    """Recent task times, by kind of shard: scoring takes other times than training."""

    def __init__(self) -> None:
        self._times: dict[Kind, deque[float]] = {}

    def add(self, kind: Kind, task_s: float) -> None:
        """A task took so long."""
        self._times.setdefault(kind, deque(maxlen=WINDOW)).append(task_s)

    def of(self, kind: Kind) -> tuple[float, ...]:
        """Times of a kind, oldest first."""
        return tuple(self._times.get(kind, ()))


def usual_of(kind: Kind, own: TaskTimes, others: Iterable[TaskTimes]) -> Usual | None:
    """What a task usually takes a worker: by its own times, else by everybody's.

    Args:
        kind: Of the shard.
        own: The worker's times.
        others: Those of all connected workers.
    """
    return usual(own.of(kind)) or usual(
        [time_s for times in others for time_s in times.of(kind)]
    )
