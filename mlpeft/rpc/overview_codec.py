"""The call Status to bytes and back."""

from __future__ import annotations

from mlpeft.cluster.joining import Versions
from mlpeft.cluster.messages import WorkerId
from mlpeft.cluster.overview import Bytes, Overview, RunProgress
from mlpeft.rpc import cluster_pb2 as pb
from mlpeft.rpc.parsing import parse
from mlpeft.rpc.status_codec import read_status, write_status


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
    )


def _read_progress(progress: pb.RunProgress) -> RunProgress:
    known = progress.HasField
    return RunProgress(
        iteration=progress.iteration,
        iterations=progress.iterations,
        per_second=progress.per_second if known("per_second") else None,
        seconds_left=progress.seconds_left if known("seconds_left") else None,
        validation=progress.validation,
    )


def _bytes(moved: Bytes) -> pb.BytesMoved:
    return pb.BytesMoved(up=moved.up, down=moved.down)


def _read_bytes(moved: pb.BytesMoved) -> Bytes:
    return Bytes(moved.up, moved.down)
