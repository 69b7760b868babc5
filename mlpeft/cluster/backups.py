"""Backup leases: a second worker for the tail of a round. Pure functions.

A round ends with its slowest shard. When no shard waits any more and a worker has a
free slot, a shard that takes longer than is usual is leased a second time; the first
valid update wins and the other worker is told to stop. A shard's update is the same
wherever it is computed, so this decides no bits, and nobody has failed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlpeft.cluster import durations

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mlpeft.cluster.durations import Usual
    from mlpeft.cluster.messages import WorkerId
    from mlpeft.cluster.rounds import Candidate, Failure


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
    return max(durations.shard_limit_s(task, tasks, ahead, factor), least_s)


def choose_backup(
    candidates: Sequence[Candidate], holder: str, failures: Sequence[Failure]
) -> tuple[WorkerId | None, str]:
    """The worker that gets a slow shard as well, and why; or None, and why nobody.

    Args:
        candidates: Connected workers, in the order in which they joined.
        holder: The process that has the shard.
        failures: Earlier attempts at the shard.
    """
    tried = {failure.incarnation for failure in failures} | {holder}
    fresh = [
        candidate
        for candidate in candidates
        if candidate.able and candidate.incarnation not in tried
    ]
    if not fresh:
        return None, "nobody else is there who has not failed at it"
    best = max(fresh, key=lambda candidate: candidate.free)
    if best.free <= 0:
        return None, "nobody else has a free slot"
    return best.worker, f"{best.name} is idle"
