"""The messages of the stream of work, each defined once.

Both state machines receive and send these objects, the links carry them, and only the
codecs know their bytes. The words are those of cluster.proto. A message that came over
the network is never trusted: late, repeated and misdirected ones change nothing.

Hello and Welcome open a stream, one from each side; the drivers exchange them.
Acknowledgements pass between the two ends of a link. All others go from one machine to
the other.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, NewType, TypeAlias

if TYPE_CHECKING:
    from mlpeft.params import ParamTree
    from mlpeft.work import Shard, ShardUpdate

PROTOCOL_VERSION = 5
"""Changes whenever two versions of the contract cannot talk to each other."""

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


# --- from a worker --------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Hello:
    """A worker's first message: which join this stream belongs to.

    Attributes:
        worker_id: From the answer to the join.
        device: What the worker computes on, for the status.
        fingerprint: Digest of everything that decides bits, as the worker sees it.
    """

    worker_id: str
    device: str
    fingerprint: str


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """A worker is alive; with the tasks done so far for each lease in hand."""

    progress: tuple[tuple[LeaseKey, int], ...] = ()


@dataclass(frozen=True, slots=True)
class Update:
    """What a shard returned.

    Attributes:
        key: The lease that it answers.
        version: The version of theta that the worker says it started from.
        update: The update; None if it could not be decoded, or was skipped.
        fault: What was wrong with it on the wire ("" if nothing).
    """

    key: LeaseKey
    version: int
    update: ShardUpdate | None
    fault: str = ""


@dataclass(frozen=True, slots=True)
class LeaseReturn:
    """A worker gives a lease back without an update.

    Attributes:
        key: Which lease.
        failed: True: it tried and could not. False: it was told to stop, or is leaving.
        reason: Why, in the worker's words.
    """

    key: LeaseKey
    failed: bool
    reason: str


@dataclass(frozen=True, slots=True)
class Draining:
    """A worker finishes what it has and wants no more leases."""


@dataclass(frozen=True, slots=True)
class Away:
    """A worker takes no leases while its machine is needed otherwise, or is back.

    Attributes:
        reason: Why, in the worker's words; "": it is back.
        change: Grows with every one of a process, from 1: an older one that comes late
            changes nothing.
    """

    reason: str
    change: int


# --- from the coordinator -------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Welcome:
    """The coordinator's first message.

    Attributes:
        heartbeat_s: Seconds between the worker's heartbeats.
    """

    heartbeat_s: float


@dataclass(frozen=True, slots=True)
class Theta:
    """A version of theta. Drivers keep `meta`; the machines look at `version` only.

    Attributes:
        version: Which.
        meta: The meta-state, or with `base` the packed step that leads to it.
        base: The version that the step starts from; None: there is no step.
    """

    version: int
    meta: ParamTree
    base: int | None = None


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


@dataclass(frozen=True, slots=True)
class LeaseRevocation:
    """A lease's update is no longer wanted."""

    key: LeaseKey
    reason: str


@dataclass(frozen=True, slots=True)
class Drain:
    """Finish the shard in hand, take no more, and end the process."""

    reason: str


@dataclass(frozen=True, slots=True)
class Notice:
    """For the people at the worker."""

    text: str


@dataclass(frozen=True, slots=True)
class RunOver:
    """There is nothing more to do; the last message of a stream."""

    reason: str


# --- from either side -----------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Acknowledgement:
    """Chunks were read. For the other end of the link; drivers do not see it.

    Attributes:
        read_bytes: Bytes of all chunks of this stream that were read.
    """

    read_bytes: int


# --- who says what --------------------------------------------------------------------

Report: TypeAlias = Heartbeat | Update | LeaseReturn | Draining | Away
"""What a worker sends once its stream is open."""
Instruction: TypeAlias = Theta | Lease | LeaseRevocation | Drain | Notice | RunOver
"""What the coordinator sends once a stream is open."""
WorkerMessage: TypeAlias = Hello | Report
CoordinatorMessage: TypeAlias = Welcome | Instruction
