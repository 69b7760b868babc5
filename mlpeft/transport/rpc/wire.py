"""What travels on the stream of work, as plain dataclasses."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from mlpeft.cluster.messages import Lease, LeaseKey
    from mlpeft.params import ParamTree
    from mlpeft.transport.blobs.manifest import OfferedAsset
    from mlpeft.work import ShardUpdate

PROTOCOL_VERSION = 1
"""Changes whenever two versions of the contract cannot talk to each other."""


@dataclass(frozen=True, slots=True)
class JoinRequest:
    """A worker asks to take part; fields as in cluster.proto."""

    protocol_version: int
    mlpeft_version: str
    mlx_version: str
    name: str
    process_id: str


@dataclass(frozen=True, slots=True)
class JoinResponse:
    """The coordinator lets a worker in; fields as in cluster.proto."""

    worker_id: str
    session: str
    config_yaml: str
    assets: tuple[OfferedAsset, ...] = ()


@dataclass(frozen=True, slots=True)
class BlobRequest:
    """A worker asks for bytes of the run's files; fields as in cluster.proto."""

    worker_id: str
    sha256: str
    offset: int


class Action(StrEnum):
    """What an operator may ask for; as in cluster.proto."""

    DRAIN = "drain"
    PAUSE = "pause"
    RESUME = "resume"
    STOP = "stop"
    RELEASE = "release"


@dataclass(frozen=True, slots=True)
class ControlRequest:
    """An operator steers; `worker` is a name, for drain and release."""

    action: Action
    worker: str = ""


@dataclass(frozen=True, slots=True)
class Hello:
    """A worker's first message: which join this stream belongs to."""

    worker_id: str
    device: str
    fingerprint: str


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """A worker lives; tasks done for each lease in hand."""

    progress: tuple[tuple[LeaseKey, int], ...]


@dataclass(frozen=True, slots=True)
class Update:
    """What a shard returned.

    Attributes:
        key: The lease that it answers.
        version: Version of theta that it started from.
        update: What came; None if it is damaged.
        fault: What is wrong with it ("" if nothing).
    """

    key: LeaseKey
    version: int
    update: ShardUpdate | None
    fault: str = ""


@dataclass(frozen=True, slots=True)
class LeaseReturn:
    """A lease goes back without an update."""

    key: LeaseKey
    failed: bool
    reason: str


@dataclass(frozen=True, slots=True)
class Draining:
    """A worker wants no more leases."""


@dataclass(frozen=True, slots=True)
class Welcome:
    """The coordinator's first message."""

    heartbeat_s: float


@dataclass(frozen=True, slots=True)
class Theta:
    """A version of theta."""

    version: int
    meta: ParamTree


@dataclass(frozen=True, slots=True)
class LeaseGrant:
    """A shard to compute."""

    lease: Lease


@dataclass(frozen=True, slots=True)
class LeaseRevocation:
    """A lease's update is no longer wanted."""

    key: LeaseKey
    reason: str


@dataclass(frozen=True, slots=True)
class Drain:
    """Finish the shard in hand, take no more, and end."""

    reason: str


@dataclass(frozen=True, slots=True)
class Notice:
    """For the people at the worker."""

    text: str


@dataclass(frozen=True, slots=True)
class RunOver:
    """There is nothing more to do."""

    reason: str


UpMessage: TypeAlias = Hello | Heartbeat | Update | LeaseReturn | Draining
DownMessage: TypeAlias = (
    Welcome | Theta | LeaseGrant | LeaseRevocation | Drain | Notice | RunOver
)
