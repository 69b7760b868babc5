"""What happened in a cluster, as far as snapshots of it show."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from mlpeft.dashboard.recorder import MOST_DEPARTURES, Departure
from mlpeft.dashboard.timeline import Timeline

if TYPE_CHECKING:
    from mlpeft.cluster.overview import Overview


class ClusterHistory:
    """A timeline and departures, from snapshots of another process's coordinator.

    Attributes:
        last: The newest snapshot; None: there was none.
        timeline: Shards that begin and end between two snapshots are not in it.
        departures: Workers that left, the newest last.
    """

    def __init__(self) -> None:
        self.last: Overview | None = None
        self.timeline = Timeline()
        self.departures: deque[Departure] = deque(maxlen=MOST_DEPARTURES)

    def take(self, overview: Overview, now: float) -> None:
        """Note what changed since the last snapshot.

        Args:
            overview: The snapshot.
            now: Unix time here when it was taken.
        """
        last, self.last = self.last, overview
        why = "it is no longer connected"
        if last is not None and last.session != overview.session:
            self.timeline.end_all(now, "lost")
            why = "the coordinator started again"
        present = {worker.worker for worker in overview.cluster.workers}
        for worker in last.cluster.workers if last is not None else ():
            if worker.worker not in present:
                departure = Departure(
                    *(worker.worker, worker.name, worker.device, now, why),
                    worker.shards_done,
                )
                self.departures.append(departure)
        sample(self.timeline, overview, now)


def sample(timeline: Timeline, overview: Overview, now: float) -> None:
    """Bring a timeline up to date with a snapshot of another process's coordinator.

    Shards that begin and end between two looks are not seen.

    Args:
        timeline: Changed in place.
        overview: The snapshot.
        now: Unix time here when it was taken.
    """
    leases = {lease.key: lease for lease in overview.cluster.leases}
    for key in [key for key in timeline.open if key not in leases]:
        timeline.end(key, now, "ended")
    moving = {w.worker: w for w in overview.cluster.workers}
    for key, lease in leases.items():
        worker = moving.get(lease.worker_id)
        receives = worker is not None and worker.sending is not None
        if key not in timeline.open:
            start = now - lease.held_s
            timeline.begin(
                lease.worker_id, key, start, backup=lease.backup, theta=receives
            )
        if not receives:
            timeline.computes(lease.worker_id, now)
        if worker is not None and worker.receiving is not None:
            timeline.sends(key, now)
