"""Which worker needs attention, and why, in words."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Final

from mlpeft.cluster.coordinator import waits

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from mlpeft.cluster.status import ClusterStatus, LeaseStatus, WorkerStatus

SILENT_SHARE: Final = 0.4
"""Share of the time after which a silent worker counts as lost, for a warning."""
LOST_S: Final = 10.0
"""That time, where the configuration is not known."""


class Level(IntEnum):
    """How urgent; the highest is shown first."""

    IDLE = 0
    BUSY = 1
    NOTICE = 2
    WARNING = 3
    PROBLEM = 4


@dataclass(frozen=True, slots=True)
class Attention:
    """A worker's state for people."""

    level: Level
    reason: str


def assess(
    worker: WorkerStatus,
    leases: Sequence[LeaseStatus],
    backups: Mapping[tuple[int, int], str],
    cluster: ClusterStatus,
    lost_after_s: float = LOST_S,
) -> Attention:
    """How a worker does.

    Args:
        worker: The worker.
        leases: Those that it holds.
        backups: By round and shard, the name of the worker that computes its backup.
        cluster: The whole cluster.
        lost_after_s: Seconds of silence after which it counts as lost.
    """
    return next(_findings(worker, leases, backups, cluster, lost_after_s))


def _findings(
    worker: WorkerStatus,
    leases: Sequence[LeaseStatus],
    backups: Mapping[tuple[int, int], str],
    cluster: ClusterStatus,
    lost_after_s: float,
) -> Iterator[Attention]:
    """All that can be said of a worker, the most urgent first."""
    if worker.quarantined:
        yield Attention(Level.PROBLEM, f"gets no shards: {worker.quarantined}")
    if worker.silent_s > SILENT_SHARE * lost_after_s:
        text = f"silent for {worker.silent_s:.0f} s; lost at {lost_after_s:g} s"
        yield Attention(Level.PROBLEM, text)
    slow = next((lease for lease in leases if lease.slow and not lease.backup), None)
    if slow is not None:
        helper = backups.get((slow.key.round_id, slow.key.shard))
        text = f"shard {slow.key.shard} takes longer than usual: {slow.held_s:.0f} s"
        text += f"; a backup runs on {helper}" if helper else ""
        yield Attention(Level.WARNING, text)
    if worker.draining:
        rest = "finishes its shard, then ends" if leases else "ends"
        yield Attention(Level.NOTICE, f"leaving: {rest}")
    if worker.away:
        yield Attention(Level.IDLE, f"away: {worker.away}")
    if worker.sending is not None:
        yield Attention(Level.NOTICE, waits.sending(worker.sending))
    if worker.receiving is not None:
        yield Attention(Level.BUSY, waits.receiving(worker.receiving))
    if leases:
        yield Attention(Level.BUSY, ", ".join(map(_computing, leases)))
    if cluster.paused:
        yield Attention(Level.IDLE, f"paused ({cluster.paused})")
    waiting = cluster.shards and cluster.shards_in < cluster.shards
    text = "done for this round" if waiting else "waits for the next round"
    yield Attention(Level.IDLE, text)


def _computing(lease: LeaseStatus) -> str:
    kind = "backup of shard" if lease.backup else "shard"
    done = f", {lease.tasks_done}/{lease.tasks} tasks" if lease.tasks > 1 else ""
    return f"{kind} {lease.key.shard}{done}"


def backups_of(cluster: ClusterStatus) -> dict[tuple[int, int], str]:
    """Who computes the backup of which round's shard."""
    return {
        (lease.key.round_id, lease.key.shard): lease.worker
        for lease in cluster.leases
        if lease.backup
    }


def question(cluster: ClusterStatus) -> str:
    """What the run waits for, with the backups that help."""
    text = cluster.wait
    helpers = [
        f"a backup of shard {shard} runs on {name}"
        for (_, shard), name in list(backups_of(cluster).items())[:2]
    ]
    return "; ".join([text, *helpers])
