"""What the coordinator knows: its workers, the open round and the leases.

Plain data and questions about it. Only `CoordinatorState` writes here.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from mlpeft.cluster.outliers import NormHistory
from mlpeft.cluster.rounds import Candidate

if TYPE_CHECKING:
    from mlpeft.cluster.coordinator_messages import WorkerJoined
    from mlpeft.cluster.messages import Lease, LeaseKey, WorkerId
    from mlpeft.cluster.outliers import OutlierCheck
    from mlpeft.cluster.rounds import Failure
    from mlpeft.params import Schema
    from mlpeft.work import Shard, ShardUpdate


@dataclass(slots=True)
class WorkerBook:
    """A connected worker.

    Attributes:
        info: What it said when it joined.
        last_seen: When it last gave a sign of life.
        version: The newest version of theta that was sent to it.
        held: Leases that take up its slots, those that were taken back included.
        progress: Tasks done, as of its last heartbeat; for held leases only.
        shards_done: Updates of it that counted.
        failures: Attempts of it that came to nothing.
        draining: Whether it takes no more shards.
    """

    info: WorkerJoined
    last_seen: float
    version: int | None = None
    held: set[LeaseKey] = field(default_factory=set)
    progress: dict[LeaseKey, int] = field(default_factory=dict)
    shards_done: int = 0
    failures: int = 0
    draining: bool = False

    def candidate(self) -> Candidate:
        """The worker as `rounds.choose_worker` sees it."""
        return Candidate(
            worker=self.info.worker,
            name=self.info.name,
            incarnation=self.info.incarnation,
            free=0 if self.draining else self.info.slots - len(self.held),
            draining=self.draining,
        )


@dataclass(slots=True)
class LiveLease:
    """A lease that still counts: not answered, not taken back."""

    worker: WorkerId
    lease: Lease
    granted_at: float
    deadline: float


@dataclass(slots=True)
class RoundBook:
    """The open round.

    Attributes:
        round_id: Counts rounds from 1.
        version: Version of theta that its shards start from.
        shards: What is computed.
        schema: Leaves that the sum of a training shard must have.
        outliers: How far its updates move theta.
        announced_at: When people were last told what it waits for.
        updates: What is in, by shard.
        attempts: Leases given out so far, by shard.
        granted: Which worker process was given each of them.
        failures: Attempts that came to nothing, by shard.
        live: Leases that still count; at most one a shard.
    """

    round_id: int
    version: int
    shards: tuple[Shard, ...]
    schema: Schema
    outliers: OutlierCheck
    announced_at: float
    updates: dict[int, ShardUpdate] = field(default_factory=dict)
    attempts: dict[int, int] = field(default_factory=dict)
    granted: dict[LeaseKey, str] = field(default_factory=dict)
    failures: dict[int, list[Failure]] = field(default_factory=dict)
    live: dict[LeaseKey, LiveLease] = field(default_factory=dict)

    def waiting(self) -> list[int]:
        """Shards that are not in and that nobody holds, in order."""
        leased = {key.shard for key in self.live}
        return [
            index
            for index in range(len(self.shards))
            if index not in self.updates and index not in leased
        ]

    def live_of(self, worker: WorkerId) -> list[LeaseKey]:
        """Live leases of a worker."""
        return [key for key, live in self.live.items() if live.worker == worker]


@dataclass(slots=True)
class Books:
    """All that the coordinator knows.

    Attributes:
        session: Unlike that of any other start of a coordinator.
        missing: Workers that must still come before the first lease is given.
        workers: Connected workers, in the order in which they joined.
        round: The open round.
        rounds_opened: Rounds so far.
        version: Version of theta in the newest round.
        over: Why the run ended; None while it has not.
        norms: How far updates of closed rounds moved theta.
        refused: Updates that the gate refused, since the start.
        drained: Worker processes that are to end, and why.
        paused: Why no leases are given out; None while they are.
        now: The time of the newest event.
        invitation: The command that starts a worker for this coordinator, for people.
    """

    session: str
    missing: int = 0
    workers: dict[WorkerId, WorkerBook] = field(default_factory=dict)
    round: RoundBook | None = None
    rounds_opened: int = 0
    version: int | None = None
    over: str | None = None
    norms: NormHistory = field(default_factory=NormHistory)
    refused: int = 0
    drained: dict[str, str] = field(default_factory=dict)
    paused: str | None = None
    now: float = float("-inf")
    invitation: str = "mlpeft-worker"

    def named(self, worker: str) -> tuple[WorkerId, ...]:
        """Connections of the worker with this name or id."""
        return tuple(
            worker_id
            for worker_id, book in self.workers.items()
            if worker in {worker_id, book.info.name}
        )

    def candidates(self) -> list[Candidate]:
        """Connected workers, in the order in which they joined."""
        return [worker.candidate() for worker in self.workers.values()]
