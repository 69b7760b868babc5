"""A picture of the cluster to its part of a Status call's answer, and back."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlpeft.cluster.messages import WorkerId
from mlpeft.cluster.status import ClusterStatus, LeaseStatus, WorkerStatus
from mlpeft.rpc.parsing import decode_key, encode_key

if TYPE_CHECKING:
    from mlpeft.rpc import cluster_pb2 as pb


def write_status(out: pb.StatusResponse, status: ClusterStatus) -> None:
    """Put the picture into an answer."""
    if status.version is not None:
        out.version = status.version
    out.rounds_opened = status.rounds_opened
    out.shards_in = status.shards_in
    out.shards = status.shards
    out.wait = status.wait
    out.counted = status.counted
    out.refused = status.refused
    out.backups = status.backups
    out.failures.update(status.failures)
    out.paused = status.paused
    for worker in status.workers:
        out.workers.add(
            worker_id=worker.worker,
            name=worker.name,
            device=worker.device,
            slots=worker.slots,
            leases=worker.leases,
            shards_done=worker.shards_done,
            failures=worker.failures,
            silent_s=worker.silent_s,
            draining=worker.draining,
            quarantined=worker.quarantined,
            task_s=worker.task_s,
        )
    for lease in status.leases:
        out.leases.add(
            key=encode_key(lease.key),
            worker=lease.worker,
            worker_id=lease.worker_id,
            held_s=lease.held_s,
            tasks_done=lease.tasks_done,
            tasks=lease.tasks,
            stalled_s=lease.stalled_s,
            left_s=lease.left_s,
            slow=lease.slow,
            backup=lease.backup,
        )


def read_status(status: pb.StatusResponse) -> ClusterStatus:
    """The picture in an answer."""
    workers = tuple(
        WorkerStatus(
            worker=WorkerId(worker.worker_id),
            name=worker.name,
            device=worker.device,
            slots=worker.slots,
            leases=worker.leases,
            shards_done=worker.shards_done,
            failures=worker.failures,
            silent_s=worker.silent_s,
            draining=worker.draining,
            quarantined=worker.quarantined,
            task_s=worker.task_s if worker.HasField("task_s") else None,
        )
        for worker in status.workers
    )
    leases = tuple(
        LeaseStatus(
            key=decode_key(lease.key),
            worker=lease.worker,
            worker_id=WorkerId(lease.worker_id),
            held_s=lease.held_s,
            tasks_done=lease.tasks_done,
            tasks=lease.tasks,
            stalled_s=lease.stalled_s,
            left_s=lease.left_s,
            slow=lease.slow,
            backup=lease.backup,
        )
        for lease in status.leases
    )
    return ClusterStatus(
        rounds_opened=status.rounds_opened,
        version=status.version if status.HasField("version") else None,
        shards_in=status.shards_in,
        shards=status.shards,
        workers=workers,
        leases=leases,
        wait=status.wait,
        counted=status.counted,
        refused=status.refused,
        backups=status.backups,
        failures=dict(status.failures),
        paused=status.paused,
    )
