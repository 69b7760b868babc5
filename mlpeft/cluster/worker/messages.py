"""What a worker's machine hears (events) and says (commands)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from mlpeft.cluster.messages import Announce, Lease, LeaseKey, TimePassed

if TYPE_CHECKING:
    from mlpeft.work import ShardUpdate


# --- events ---------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Started:
    """The worker's process is up."""


@dataclass(frozen=True, slots=True)
class CoordinatorJoined:
    """The coordinator let the worker in, and the stream of work is open.

    Attributes:
        session: The coordinator's session, as in `LeaseKey`.
        heartbeat_s: Seconds between heartbeats.
    """

    session: str
    heartbeat_s: float


@dataclass(frozen=True, slots=True)
class ThetaReceived:
    """All of a version of theta is here; the shell keeps its bytes."""

    version: int


@dataclass(frozen=True, slots=True)
class LeaseGranted:
    """The coordinator handed out a shard."""

    lease: Lease


@dataclass(frozen=True, slots=True)
class LeaseRevoked:
    """The coordinator no longer wants a lease's update."""

    key: LeaseKey
    reason: str


@dataclass(frozen=True, slots=True)
class ProgressMade:
    """The computing thread finished one more task of a shard."""

    key: LeaseKey
    tasks_done: int


@dataclass(frozen=True, slots=True)
class ShardComputed:
    """The computing thread finished a shard."""

    key: LeaseKey
    update: ShardUpdate


@dataclass(frozen=True, slots=True)
class ShardFailed:
    """The computing thread could not finish a shard."""

    key: LeaseKey
    reason: str


@dataclass(frozen=True, slots=True)
class ShardCancelled:
    """The computing thread dropped a shard as it was told to."""

    key: LeaseKey


@dataclass(frozen=True, slots=True)
class StreamLost:
    """The coordinator cannot be reached, or its stream ended.

    Attributes:
        reason: What the transport said.
        jitter: A number in [0, 1) that spreads out workers that reconnect.
    """

    reason: str
    jitter: float


@dataclass(frozen=True, slots=True)
class JoinRefused:
    """The coordinator will not have this worker until a person changes something."""

    reason: str


@dataclass(frozen=True, slots=True)
class RunOver:
    """The coordinator says that its run has ended.

    Attributes:
        reason: In the coordinator's words.
        jitter: As in `StreamLost`.
    """

    reason: str
    jitter: float


@dataclass(frozen=True, slots=True)
class NoticeReceived:
    """The coordinator has something to tell the people here."""

    text: str


@dataclass(frozen=True, slots=True)
class StopRequested:
    """Someone wants this worker to end: finish the shard in hand, then leave."""

    reason: str


WorkerEvent: TypeAlias = (
    Started
    | CoordinatorJoined
    | ThetaReceived
    | LeaseGranted
    | LeaseRevoked
    | ProgressMade
    | ShardComputed
    | ShardFailed
    | ShardCancelled
    | StreamLost
    | JoinRefused
    | RunOver
    | NoticeReceived
    | StopRequested
    | TimePassed
)


# --- commands -------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class DialCoordinator:
    """Try to join, after so many seconds."""

    delay_s: float


@dataclass(frozen=True, slots=True)
class ComputeShard:
    """Hand a shard to the computing thread, with theta of the lease's version."""

    lease: Lease


@dataclass(frozen=True, slots=True)
class CancelShard:
    """Tell the computing thread to drop a shard at its next task."""

    key: LeaseKey


@dataclass(frozen=True, slots=True)
class SendHeartbeat:
    """Say that this worker lives, and how far its leases are."""

    progress: tuple[tuple[LeaseKey, int], ...]


@dataclass(frozen=True, slots=True)
class SendUpdate:
    """Return a shard."""

    key: LeaseKey
    version: int
    update: ShardUpdate


@dataclass(frozen=True, slots=True)
class ReturnLease:
    """Give a lease back without an update."""

    key: LeaseKey
    failed: bool
    reason: str


@dataclass(frozen=True, slots=True)
class SendDraining:
    """Say that this worker wants no more leases."""


@dataclass(frozen=True, slots=True)
class Stop:
    """End the worker's process.

    Attributes:
        reason: For the people.
        failed: True: something must be put right before it is started again.
    """

    reason: str
    failed: bool


WorkerCommand: TypeAlias = (
    DialCoordinator
    | ComputeShard
    | CancelShard
    | SendHeartbeat
    | SendUpdate
    | ReturnLease
    | SendDraining
    | Stop
    | Announce
)
