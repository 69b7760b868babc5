"""Task times, lease durations and backups."""

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
"""Number of recent task times to keep."""
LEAST_TIMES = 5
"""Task times needed for an estimate."""
LEAST_SPREAD = 0.1
"""Lower bound of the spread, in medians."""


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


def usual(times_s: Sequence[float]) -> Usual | None:
    """The usual duration given task times; None: too few of them."""
    if len(times_s) < LEAST_TIMES:
        return None
    middle = median(times_s)
    deviation = median(abs(time_s - middle) for time_s in times_s)
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

    def add(self, kind: Kind, task_s: float) -> None:
        """Add the time of a task."""
        self._times.setdefault(kind, deque(maxlen=WINDOW)).append(task_s)

    def of(self, kind: Kind) -> tuple[float, ...]:
        """Times of a kind, oldest first."""
        return tuple(self._times.get(kind, ()))


def usual_of(
    kind: Kind, worker: TaskTimes, others: Iterable[TaskTimes]
) -> Usual | None:
    """The usual task duration on a worker: by its own times, else by all workers'.

    Args:
        kind: Kind of the shard.
        worker: The worker's times.
        others: The times of all connected workers.
    """
    return usual(worker.of(kind)) or usual(
        [time_s for times in others for time_s in times.of(kind)]
    )


def slow_after_s(
    task: Usual | None, tasks: int, ahead: int, *, factor: float, least_s: float
) -> float | None:
    """Seconds from its grant after which a lease counts as slow; None: never.

    Args:
        task: Usual duration of a task on the worker; None: unknown.
        tasks: Tasks of the shard.
        ahead: Leases that the worker held already.
        factor: Spreads above the median that are usual; 0: no backups.
        least_s: Lower bound, since a backup has a cost.
    """
    if task is None or factor == 0:
        return None
    return max(shard_limit_s(task, tasks, ahead, factor), least_s)


def choose_backup(
    candidates: Sequence[Candidate], holder: str, failures: Sequence[Failure]
) -> tuple[WorkerId | None, str]:
    """Select the worker for a backup of a slow shard; the worker or None, and why.

    Args:
        candidates: Connected workers, in the order in which they joined.
        holder: The process that holds the shard.
        failures: Failed attempts at the shard.
    """
    tried = {failure.process_id for failure in failures} | {holder}
    known = {failure.identity for failure in failures} | {
        each.identity for each in candidates if each.process_id == holder
    }
    fresh = [
        candidate
        for candidate in candidates
        if candidate.able and candidate.process_id not in tried
    ]
    if not fresh:
        return None, "no other worker is left that has not failed at it"
    # Another identity if one has a free slot: what ails a machine ails its processes.
    best = max(
        fresh, key=lambda each: (each.free > 0, each.identity not in known, each.free)
    )
    if best.free <= 0:
        return None, "no other worker has a free slot"
    return best.worker, f"{best.name} is idle"
