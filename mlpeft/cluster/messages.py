"""The cluster's vocabulary: what happened (events), what to do about it (commands).

Events are in the past tense, commands in the imperative. Both are frozen. An event that
came over the network carries what the peer sent and is never trusted: late, repeated
and misdirected ones are legal and change nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple, NewType, TypeAlias

if TYPE_CHECKING:
    from mlpeft.params import Schema
    from mlpeft.work import Shard, ShardUpdate

WorkerId = NewType("WorkerId", str)
"""One connection of one worker; a worker that reconnects gets a new one."""


class LeaseKey(NamedTuple):
    """Names one attempt at one shard.

    Attributes:
        session: Differs for each start of a coordinator; what was computed for one
            session means nothing in another.
        round_id: Counts what the training loop asked for, from 1 in each session.
        shard: The shard's index in its round.
        attempt: From 1; grows whenever the shard is leased again.
    """

    session: str
    round_id: int
    shard: int
    attempt: int

    def __str__(self) -> str:
        return f"round {self.round_id} shard {self.shard} attempt {self.attempt}"


@dataclass(frozen=True, slots=True)
class Lease:
    """A shard handed to one worker.

    Attributes:
        key: Which attempt at which shard of which round.
        version: The version of theta to start from.
        shard: What to compute.
        lease_s: Seconds that the worker has, from the grant.
    """

    key: LeaseKey
    version: int
    shard: Shard
    lease_s: float


class Level(StrEnum):
    """How much an announcement matters."""

    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


# --- events of both machines ----------------------------------------------------------


@dataclass(frozen=True, slots=True)
class TimePassed:
    """The time that `next_wakeup` named has come (or any other: harmless)."""


# --- events of the coordinator --------------------------------------------------------


@dataclass(frozen=True, slots=True)
class WorkerJoined:
    """A worker was checked and has opened its stream of work.

    Attributes:
        worker: The new connection.
        name: What people call the worker; need not be unique.
        incarnation: The same for all connections of one worker process. A process that
            comes back had lost its connection, and had not crashed.
        slots: Shards that it takes at once.
        device: What it computes on, for the status.
    """

    worker: WorkerId
    name: str
    incarnation: str
    slots: int
    device: str = ""


@dataclass(frozen=True, slots=True)
class WorkerLeft:
    """A worker's stream ended, for whatever reason."""

    worker: WorkerId
    reason: str


@dataclass(frozen=True, slots=True)
class HeartbeatReceived:
    """A worker is alive; with tasks done so far for each of its leases."""

    worker: WorkerId
    progress: tuple[tuple[LeaseKey, int], ...] = ()


@dataclass(frozen=True, slots=True)
class UpdateReceived:
    """A worker returned a shard.

    Attributes:
        worker: Who sent it.
        key: The lease that it answers.
        version: The version of theta that it says it started from.
        update: What came; None if it could not be decoded.
        fault: What was wrong with it on the wire ("" if nothing).
    """

    worker: WorkerId
    key: LeaseKey
    version: int
    update: ShardUpdate | None
    fault: str = ""


@dataclass(frozen=True, slots=True)
class LeaseReturned:
    """A worker gives a lease back without an update.

    Attributes:
        worker: Who had it.
        key: Which lease.
        failed: True: it tried and could not. False: it was told to stop, or is leaving.
        reason: Why, in the worker's words.
    """

    worker: WorkerId
    key: LeaseKey
    failed: bool
    reason: str


@dataclass(frozen=True, slots=True)
class WorkerDraining:
    """A worker finishes what it has and wants no more."""

    worker: WorkerId


@dataclass(frozen=True, slots=True)
class RoundOpened:
    """The training loop asks for the updates of a round.

    Attributes:
        version: Version of theta; never less than that of the round before.
        shards: What to compute; indices 0 .. len - 1.
        schema: Leaves that `total` of a training shard must have.
    """

    version: int
    shards: tuple[Shard, ...]
    schema: Schema


@dataclass(frozen=True, slots=True)
class RoundAbandoned:
    """The training loop no longer wants the round (it was interrupted)."""

    reason: str


@dataclass(frozen=True, slots=True)
class RunEnded:
    """The training loop is done with the cluster."""

    reason: str


CoordinatorEvent: TypeAlias = (
    WorkerJoined
    | WorkerLeft
    | HeartbeatReceived
    | UpdateReceived
    | LeaseReturned
    | WorkerDraining
    | RoundOpened
    | RoundAbandoned
    | RunEnded
    | TimePassed
)


# --- commands of the coordinator ------------------------------------------------------


@dataclass(frozen=True, slots=True)
class SendTheta:
    """Send theta of this version; once a version to a worker."""

    worker: WorkerId
    version: int


@dataclass(frozen=True, slots=True)
class GrantLease:
    """Send a lease."""

    worker: WorkerId
    lease: Lease


@dataclass(frozen=True, slots=True)
class RevokeLease:
    """Tell a worker that a lease's update is no longer wanted."""

    worker: WorkerId
    key: LeaseKey
    reason: str


@dataclass(frozen=True, slots=True)
class DismissWorker:
    """End a worker's stream.

    Attributes:
        worker: Whose.
        reason: Told to the worker.
        run_over: True: there is nothing more to do. False: it may come back.
    """

    worker: WorkerId
    reason: str
    run_over: bool


@dataclass(frozen=True, slots=True)
class CompleteRound:
    """Give the updates, in the order of their index, to the training loop."""

    round_id: int
    updates: tuple[ShardUpdate, ...]


@dataclass(frozen=True, slots=True)
class FailRound:
    """Tell the training loop that the round cannot be done, and why."""

    round_id: int
    story: str


@dataclass(frozen=True, slots=True)
class Announce:
    """Tell the people."""

    level: Level
    text: str


CoordinatorCommand: TypeAlias = (
    SendTheta
    | GrantLease
    | RevokeLease
    | DismissWorker
    | CompleteRound
    | FailRound
    | Announce
)


# --- events of a worker ---------------------------------------------------------------


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
    | StopRequested
    | TimePassed
)


# --- commands of a worker -------------------------------------------------------------


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
