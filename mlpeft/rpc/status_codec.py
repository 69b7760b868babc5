"""The call Status to bytes and back."""

from __future__ import annotations

from mlpeft.cluster.messages import WorkerId
from mlpeft.cluster.status import ClusterStatus, LeaseStatus, WorkerStatus
from mlpeft.rpc import cluster_pb2 as pb
from mlpeft.rpc.parsing import decode_key, encode_key, parse


def encode_status(run: str, status: ClusterStatus) -> bytes:
    """The bytes of a Status call's answer."""
    out = pb.StatusResponse(
        run=run,
        rounds_opened=status.rounds_opened,
        version=status.version,
        shards_in=status.shards_in,
        shards=status.shards,
        wait=status.wait,
        refused=status.refused,
        paused=status.paused,
    )
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
        )
    for lease in status.leases:
        out.leases.add(
            key=encode_key(lease.key),
            worker=lease.worker,
            held_s=lease.held_s,
            tasks_done=lease.tasks_done,
            tasks=lease.tasks,
        )
    return out.SerializeToString()


def decode_status(data: bytes) -> tuple[str, ClusterStatus]:
    """Name of the run, and the picture of its cluster.

    Raises:
        RemoteProtocolError: If it is something else.
    """
    status = parse(pb.StatusResponse, data)
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
        )
        for worker in status.workers
    )
    leases = tuple(
        LeaseStatus(
            key=decode_key(lease.key),
            worker=lease.worker,
            held_s=lease.held_s,
            tasks_done=lease.tasks_done,
            tasks=lease.tasks,
        )
        for lease in status.leases
    )
    return status.run, ClusterStatus(
        rounds_opened=status.rounds_opened,
        version=status.version if status.HasField("version") else None,
        shards_in=status.shards_in,
        shards=status.shards,
        workers=workers,
        leases=leases,
        wait=status.wait,
        refused=status.refused,
        paused=status.paused,
    )
