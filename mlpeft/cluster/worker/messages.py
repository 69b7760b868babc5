"""Events that a worker's machine takes in, and commands that it returns.

Messages of the coordinator (`protocol.Instruction`) are events as they are.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from mlpeft.cluster.messages import Announce, TimePassed
from mlpeft.cluster.protocol import Instruction

if TYPE_CHECKING:
    from mlpeft.cluster.protocol import Lease, LeaseKey, Report
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

    Each dial ends with exactly one of this and `JoinRefused`, after RunOver as well.

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
class StopRequested:
    """Someone wants this worker to end: finish the shard in hand, then leave."""

    reason: str


@dataclass(frozen=True, slots=True)
class MachineNeeded:
    """The machine is needed otherwise: take no leases, and give back what there is.

    Attributes:
        reason: Why, for people.
    """

    reason: str


@dataclass(frozen=True, slots=True)
class MachineFree:
    """The machine may compute again."""


WorkerEvent: TypeAlias = (
    Started
    | CoordinatorJoined
    | Instruction
    | ProgressMade
    | ShardComputed
    | ShardFailed
    | ShardCancelled
    | StreamLost
    | JoinRefused
    | StopRequested
    | MachineNeeded
    | MachineFree
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
class Send:
    """Send a message to the coordinator."""

    message: Report


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
    DialCoordinator | ComputeShard | CancelShard | Send | Stop | Announce
)
