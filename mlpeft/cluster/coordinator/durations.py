"""How long tasks usually take and leases may last, and when a backup is due."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from mlpeft.cluster.policy import Candidate, Failure
    from mlpeft.cluster.protocol import WorkerId
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


def slow_after_s(
    task: Usual | None, tasks: int, ahead: int, *, factor: float, least_s: float
) -> float | None:
    """Seconds from its grant after which a lease is in the tail; None: never.

    Args:
        task: What a task usually takes its worker; None: not known.
        tasks: Tasks of the shard.
        ahead: Leases that its worker held already.
        factor: Spreads above the median that are usual; 0: there are no backups.
        least_s: At least so long: a second lease has its cost, too.
    """
    if task is None or factor == 0:
        return None
    return max(shard_limit_s(task, tasks, ahead, factor), least_s)


def choose_backup(
    candidates: Sequence[Candidate], holder: str, failures: Sequence[Failure]
) -> tuple[WorkerId | None, str]:
    """The worker that gets a slow shard as well, and why; or None, and why nobody.

    Args:
        candidates: Connected workers, in the order in which they joined.
        holder: The process that has the shard.
        failures: Earlier attempts at the shard.
    """
    tried = {failure.process_id for failure in failures} | {holder}
    fresh = [
        candidate
        for candidate in candidates
        if candidate.able and candidate.process_id not in tried
    ]
    if not fresh:
        return None, "nobody else is there who has not failed at it"
    best = max(fresh, key=lambda candidate: candidate.free)
    if best.free <= 0:
        return None, "nobody else has a free slot"
    return best.worker, f"{best.name} is idle"
