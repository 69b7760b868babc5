"""Snapshots of the cluster's state for status displays."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from mlpeft.cluster.coordinator import durations, waits
from mlpeft.cluster.coordinator.audits import AuditResult
from mlpeft.cluster.policy import Cause, LateResult
from mlpeft.work import Kind

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mlpeft.cluster.coordinator.state import ClusterState, Transfer, WorkerRecord
    from mlpeft.cluster.protocol import LeaseKey, WorkerId

WORKER_STATES: Final = ("working", "idle", "away", "leaving", "quarantined")


@dataclass(frozen=True, slots=True)
class TransferStatus:
    """Bytes on their way.

    Attributes:
        done_bytes: What has arrived.
        total_bytes: All.
    """

    done_bytes: int
    total_bytes: int


@dataclass(frozen=True, slots=True)
class WorkerStatus:
    """A connected worker.

    Attributes:
        worker: The connection.
        name: Its name.
        device: The device on which it computes.
        slots: Shards that it holds at a time.
        leases: Slots in use.
        shards_done: Its updates that counted.
        failures: Its failed attempts.
        task_s: Usual seconds per training task; None: unknown yet.
        silent_s: Seconds since its last message.
        draining: Whether it accepts no more shards.
        quarantined: Why it gets no shards; "" if it does.
        sending: How far theta is on its way to it; None: there, or it takes no time.
        receiving: How far its update is on its way; None as above.
        away: Why its machine is needed otherwise; "" if it is not.
    """

    worker: WorkerId
    name: str
    device: str
    slots: int
    leases: int
    shards_done: int
    failures: int
    task_s: float | None
    silent_s: float
    draining: bool
    quarantined: str
    sending: TransferStatus | None = None
    receiving: TransferStatus | None = None
    away: str = ""

    @property
    def state(self) -> str:
        """Its state, one of `WORKER_STATES`."""
        if self.quarantined:
            return "quarantined"
        if self.draining:
            return "leaving"
        if self.away:
            return "away"
        return "working" if self.leases else "idle"


@dataclass(frozen=True, slots=True)
class LeaseStatus:
    """A shard being computed.

    Attributes:
        key: The attempt and its shard.
        worker: Name of the worker.
        worker_id: Its connection, since names need not be unique.
        held_s: Seconds since the grant.
        tasks_done: Tasks done, as of the last heartbeat.
        tasks: Tasks of the shard.
        stalled_s: Seconds since its worker last reported progress.
        left_s: Seconds until the lease expires.
        slow: Whether it takes longer than usual.
        backup: Whether it is a backup of another worker's lease.
    """

    key: LeaseKey
    worker: str
    worker_id: WorkerId
    held_s: float
    tasks_done: int
    tasks: int
    stalled_s: float
    left_s: float
    slow: bool
    backup: bool


@dataclass(frozen=True, slots=True)
class ClusterStatus:
    """A snapshot of the cluster.

    Attributes:
        rounds_opened: Rounds of this session so far, the open one included.
        version: Theta's version in the newest round; None before the first.
        shards_in: Updates that the open round has; 0 if none is open.
        shards: Shards of the open round; 0 if none is open.
        workers: Connected workers, in the order in which they joined.
        leases: Shards being computed.
        wait: What the open round waits for, or why none is open.
        counted: Updates that counted in this session.
        refused: Updates that were refused in this session.
        backups: Backup leases granted in this session.
        failures: Failed attempts at shards in this session, by cause.
        audits: Shards of this session that were audited, by result.
        late: Shards of rounds that had closed, by what became of them.
        paused: Why no leases are granted; "" while they are.
    """

    rounds_opened: int
    version: int | None
    shards_in: int
    shards: int
    workers: tuple[WorkerStatus, ...]
    leases: tuple[LeaseStatus, ...]
    wait: str
    counted: int
    refused: int
    backups: int
    failures: Mapping[str, int]
    paused: str
    audits: Mapping[str, int] = field(default_factory=dict)
    late: Mapping[str, int] = field(default_factory=dict)


def picture(state: ClusterState, now: float) -> ClusterStatus:
    """Take a snapshot of the state.

    Args:
        state: The coordinator's state.
        now: Seconds on the clock of the coordinator's events.
    """
    current = state.round
    leases = tuple(
        LeaseStatus(
            key=key,
            worker=state.workers[live.worker].info.name,
            worker_id=live.worker,
            held_s=now - live.granted_at,
            tasks_done=state.workers[live.worker].progress.get(key, 0),
            tasks=len(live.lease.shard.tasks),
            stalled_s=now - live.progress_at,
            left_s=live.deadline - now,
            slow=live.slow,
            backup=live.backup,
        )
        for each in state.rounds()
        for key, live in each.live.items()
    )
    workers = tuple(
        WorkerStatus(
            worker=worker_id,
            name=worker.info.name,
            device=worker.info.device,
            slots=worker.info.slots,
            leases=len(worker.held),
            shards_done=worker.shards_done,
            failures=worker.failures,
            task_s=_task_s(worker),
            silent_s=now - worker.last_seen,
            draining=worker.draining,
            quarantined=state.quarantine.reason(*worker.info.suspects) or "",
            sending=_transfer(worker.sending),
            receiving=_transfer(worker.receiving),
            away=worker.away,
        )
        for worker_id, worker in state.workers.items()
    )
    return ClusterStatus(
        rounds_opened=state.rounds_opened,
        version=state.version,
        shards_in=len(current.updates) if current else 0,
        shards=len(current.shards) if current else 0,
        workers=workers,
        leases=leases,
        wait=waits.wait(state),
        counted=state.counted,
        refused=state.refused,
        backups=state.backups,
        failures={cause.value: state.failures[cause] for cause in Cause},
        paused=state.paused or "",
        audits={result.value: state.audits[result] for result in AuditResult},
        late={result.value: state.late_results[result] for result in LateResult},
    )


def _transfer(transfer: Transfer | None) -> TransferStatus | None:
    if transfer is None:
        return None
    return TransferStatus(transfer.done_bytes, transfer.total_bytes)


def _task_s(worker: WorkerRecord) -> float | None:
    task = durations.usual(worker.times.of(Kind.TRAIN))
    return None if task is None else task.median_s
