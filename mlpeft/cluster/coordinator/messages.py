"""Events that the coordinator's machine takes in, and commands that it returns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from mlpeft.cluster.messages import Announce, TimePassed

if TYPE_CHECKING:
    from mlpeft.cluster.protocol import Instruction, LeaseKey, Report, WorkerId
    from mlpeft.params import ParamTree
    from mlpeft.rounds import RoundResult
    from mlpeft.work import Shard


# --- events ---------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class WorkerExpected:
    """A worker was let in or asks for a file of the run; its stream is not open yet.

    Attributes:
        name: As in WorkerJoined.
        process_id: As in WorkerJoined.
    """

    name: str
    process_id: str


@dataclass(frozen=True, slots=True)
class WorkerJoined:
    """A worker was checked and has opened its stream of work.

    Attributes:
        worker: The new connection.
        name: What people call the worker; need not be unique.
        process_id: The same for all connections of one worker process. A process that
            comes back had lost its connection, and had not crashed.
        identity: Whom the worker counts as: its certificate's name, or in the clear its
            address. Several processes may share one; no worker can choose it.
        slots: Shards that it takes at once.
        device: What it computes on, for the status.
    """

    worker: WorkerId
    name: str
    process_id: str
    identity: str
    slots: int
    device: str = ""

    @property
    def suspects(self) -> tuple[str, str]:
        """Who may be quarantined for what it does: its process, and its identity."""
        return self.process_id, self.identity


@dataclass(frozen=True, slots=True)
class WorkerLeft:
    """A worker's stream ended, for whatever reason."""

    worker: WorkerId
    reason: str


@dataclass(frozen=True, slots=True)
class MessageReceived:
    """A message came on a worker's stream."""

    worker: WorkerId
    message: Report


@dataclass(frozen=True, slots=True)
class UploadHeld:
    """A worker's update waits for its turn; its stream is not read meanwhile.

    Sent again and again until the turn comes: the worker is silent by our choice.

    Attributes:
        worker: Whose stream is not read.
        key: The lease that the update answers; None: the stream is read again.
    """

    worker: WorkerId
    key: LeaseKey | None


@dataclass(frozen=True, slots=True)
class ThetaMoved:
    """A worker has read some of the theta that is sent to it. A sign of life.

    Sent now and then while it is under way, if it takes long; then at its end, too.

    Attributes:
        worker: To whom.
        version: Of theta.
        done_bytes: What it has read.
        total_bytes: What it is to read.
    """

    worker: WorkerId
    version: int
    done_bytes: int
    total_bytes: int


@dataclass(frozen=True, slots=True)
class UpdateMoved:
    """Some of a worker's update has come. A sign of life; the rest as in ThetaMoved.

    Attributes:
        worker: From whom.
        key: The lease that the update answers.
        done_bytes: What has come.
        total_bytes: What is to come.
    """

    worker: WorkerId
    key: LeaseKey
    done_bytes: int
    total_bytes: int


@dataclass(frozen=True, slots=True)
class RoundOpened:
    """The training loop asks for a round.

    Attributes:
        version: Version of theta; never less than that of the round before.
        shards: What to compute; indices 0 .. len - 1.
        meta: The meta-state of that version; `total` of a training shard must have its
            leaves.
        carried: Leaves of `meta` that are no part of theta but carried state of the
            inner optimiser: they may move as they like.
        need: Updates with which the round may close; None: all of its shards.
    """

    version: int
    shards: tuple[Shard, ...]
    meta: ParamTree
    carried: frozenset[str] = frozenset()
    need: int | None = None


@dataclass(frozen=True, slots=True)
class RoundAbandoned:
    """The training loop no longer wants the round (it was interrupted)."""

    reason: str


@dataclass(frozen=True, slots=True)
class RunEnded:
    """The training loop is done with the cluster."""

    reason: str


@dataclass(frozen=True, slots=True)
class PauseRequested:
    """Someone wants no more leases to be given out; shards in hand are finished."""

    reason: str


@dataclass(frozen=True, slots=True)
class ResumeRequested:
    """Someone wants leases to be given out again."""


@dataclass(frozen=True, slots=True)
class DrainRequested:
    """Someone wants a worker to finish the shard in hand and end its process.

    Attributes:
        worker: Name or id. All connections of that name are meant; nobody of that name
            is legal, since a worker may leave just before it is asked to.
        reason: Told to the worker.
    """

    worker: str
    reason: str


@dataclass(frozen=True, slots=True)
class ReleaseRequested:
    """Someone wants a quarantined worker to get leases again.

    Attributes:
        worker: Name or id, as in `DrainRequested`.
    """

    worker: str


CoordinatorEvent: TypeAlias = (
    WorkerExpected
    | WorkerJoined
    | WorkerLeft
    | MessageReceived
    | UploadHeld
    | ThetaMoved
    | UpdateMoved
    | RoundOpened
    | RoundAbandoned
    | RunEnded
    | PauseRequested
    | ResumeRequested
    | DrainRequested
    | ReleaseRequested
    | TimePassed
)


# --- commands -------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Send:
    """Send a message on a worker's stream; RunOver ends the stream in order."""

    worker: WorkerId
    message: Instruction


@dataclass(frozen=True, slots=True)
class SendTheta:
    """Send theta of this version; once per version to a worker.

    Unlike `Send` it holds no message: the driver has theta, and all workers share it.
    """

    worker: WorkerId
    version: int


@dataclass(frozen=True, slots=True)
class DismissWorker:
    """Drop a worker's stream now; the worker may come back."""

    worker: WorkerId
    reason: str


@dataclass(frozen=True, slots=True)
class CompleteRound:
    """Give its result to the training loop."""

    round_id: int
    result: RoundResult


@dataclass(frozen=True, slots=True)
class FailRound:
    """Tell the training loop that the round cannot be done, and why."""

    round_id: int
    history: str


CoordinatorCommand: TypeAlias = (
    Send | SendTheta | DismissWorker | CompleteRound | FailRound | Announce
)

Commands: TypeAlias = list[CoordinatorCommand]
