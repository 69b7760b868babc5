"""The call Status to bytes and back."""

from __future__ import annotations

from mlpeft.cluster.overview import Bytes, Overview, RunProgress
from mlpeft.cluster.protocol import WorkerId
from mlpeft.cluster.status import (
    ClusterStatus,
    LeaseStatus,
    TransferStatus,
    WorkerStatus,
)
from mlpeft.cluster.validation import Versions
from mlpeft.transport.rpc import cluster_pb2 as pb
from mlpeft.transport.rpc.parsing import decode_key, encode_key, parse


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
    out.audits.update(status.audits)
    out.late.update(status.late)
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
            away=worker.away,
            task_s=worker.task_s,
            sending=_transfer(worker.sending),
            receiving=_transfer(worker.receiving),
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
            away=worker.away,
            task_s=worker.task_s if worker.HasField("task_s") else None,
            sending=_read_transfer(worker, "sending"),
            receiving=_read_transfer(worker, "receiving"),
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
        audits=dict(status.audits),
        late=dict(status.late),
    )


def encode_overview(overview: Overview) -> bytes:
    """The bytes of a Status call's answer."""
    out = pb.StatusResponse(
        run=overview.run,
        session=overview.session,
        progress=_progress(overview.progress),
        stopping=overview.stopping,
        bytes_moved=_bytes(overview.bytes_moved),
        clock_s=overview.clock_s,
    )
    if overview.versions is not None:
        out.protocol_version = overview.versions.protocol
        out.mlpeft_version = overview.versions.mlpeft
        out.mlx_version = overview.versions.mlx
    write_status(out, overview.cluster)
    for worker in out.workers:
        moved = overview.bytes_by_worker.get(WorkerId(worker.worker_id), Bytes())
        worker.bytes_moved.CopyFrom(_bytes(moved))
    return out.SerializeToString()


def decode_overview(data: bytes) -> Overview:
    """What the coordinator tells of itself.

    Raises:
        RemoteProtocolError: If it is something else.
    """
    status = parse(pb.StatusResponse, data)
    return Overview(
        run=status.run,
        session=status.session,
        progress=_read_progress(status.progress),
        stopping=status.stopping,
        bytes_moved=_read_bytes(status.bytes_moved),
        cluster=read_status(status),
        bytes_by_worker={
            WorkerId(worker.worker_id): _read_bytes(worker.bytes_moved)
            for worker in status.workers
        },
        clock_s=status.clock_s,
        versions=_read_versions(status),
    )


def _read_versions(status: pb.StatusResponse) -> Versions | None:
    if not status.protocol_version:
        return None
    return Versions(status.protocol_version, status.mlpeft_version, status.mlx_version)


def _progress(progress: RunProgress) -> pb.RunProgress:
    return pb.RunProgress(
        iteration=progress.iteration,
        iterations=progress.iterations,
        per_second=progress.per_second,
        seconds_left=progress.seconds_left,
        validation=progress.validation,
        message=progress.message,
    )


def _read_progress(progress: pb.RunProgress) -> RunProgress:
    known = progress.HasField
    return RunProgress(
        iteration=progress.iteration,
        iterations=progress.iterations,
        per_second=progress.per_second if known("per_second") else None,
        seconds_left=progress.seconds_left if known("seconds_left") else None,
        validation=progress.validation,
        message=progress.message,
    )


def _transfer(transfer: TransferStatus | None) -> pb.TransferStatus | None:
    if transfer is None:
        return None
    return pb.TransferStatus(
        done_bytes=transfer.done_bytes, total_bytes=transfer.total_bytes
    )


def _read_transfer(worker: pb.WorkerStatus, field: str) -> TransferStatus | None:
    if not worker.HasField(field):
        return None
    transfer = getattr(worker, field)
    return TransferStatus(transfer.done_bytes, transfer.total_bytes)


def _bytes(moved: Bytes) -> pb.BytesMoved:
    return pb.BytesMoved(up=moved.up, down=moved.down)


def _read_bytes(moved: pb.BytesMoved) -> Bytes:
    return Bytes(moved.up, moved.down)
