"""All that a coordinator tells of itself: its run, its cluster, its connections."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mlpeft.cluster.protocol import WorkerId
    from mlpeft.cluster.status import ClusterStatus
    from mlpeft.cluster.validation import Versions


@dataclass(frozen=True, slots=True)
class RunProgress:
    """How far the run is.

    Attributes:
        iteration: Meta-iterations done.
        iterations: Meta-iterations in all; 0 while the run is being prepared.
        per_second: Meta-iterations a second of late; None: not known.
        seconds_left: At this speed; None: not known.
        validation: The newest score, for people; "" if there is none.
        message: The newest message of the run; likewise.
    """

    iteration: int = 0
    iterations: int = 0
    per_second: float | None = None
    seconds_left: float | None = None
    validation: str = ""
    message: str = ""


@dataclass(frozen=True, slots=True)
class Bytes:
    """What went over a connection: gRPC messages, without what TLS and HTTP/2 add.

    Attributes:
        up: Bytes from workers.
        down: Bytes to workers.
    """

    up: int = 0
    down: int = 0


@dataclass(frozen=True, slots=True)
class Overview:
    """All that `mlpeft status` shows.

    Attributes:
        run: Name of the run.
        session: Unlike that of any other start of a coordinator.
        progress: How far the run is.
        stopping: Whether it ends after the round under way.
        bytes_moved: Of all connections since the start, also of those that ended.
        bytes_by_worker: Of the connections that there are.
        cluster: Rounds, workers, leases.
        clock_s: The coordinator's clock, in seconds since 1970.
        versions: What the coordinator runs; None: it does not say.
    """

    run: str
    session: str
    progress: RunProgress
    stopping: bool
    bytes_moved: Bytes
    cluster: ClusterStatus
    bytes_by_worker: Mapping[WorkerId, Bytes] = field(default_factory=dict)
    clock_s: float = 0.0
    versions: Versions | None = None
