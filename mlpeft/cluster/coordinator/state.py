"""What the coordinator knows: its workers, the open round and the leases.

Plain data and questions about it. Only `CoordinatorMachine` and its parts write here.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from mlpeft.cluster.coordinator.durations import TaskTimes, usual_of
from mlpeft.cluster.coordinator.norm_history import NormHistory
from mlpeft.cluster.coordinator.paces import Paces
from mlpeft.cluster.policy import Candidate, most_shards

if TYPE_CHECKING:
    from mlpeft.cluster.coordinator.durations import Usual
    from mlpeft.cluster.coordinator.messages import WorkerJoined
    from mlpeft.cluster.coordinator.outliers import OutlierCheck
    from mlpeft.cluster.coordinator.quarantine import Quarantine
    from mlpeft.cluster.coordinator.slow_leases import SlowLeases
    from mlpeft.cluster.policy import Cause, Failure
    from mlpeft.cluster.protocol import Lease, LeaseKey, WorkerId
    from mlpeft.params import Schema
    from mlpeft.work import Kind, RoundUpdates, Shard


class HeldLease(NamedTuple):
    """A lease that takes up a slot.

    Attributes:
        granted_at: When it was granted.
        kind: Kind of its shard.
        tasks: Tasks of its shard.
    """

    granted_at: float
    kind: Kind
    tasks: int


@dataclass(slots=True)
class WorkerRecord:
    """A connected worker.

    Attributes:
        info: What it said when it joined.
        last_seen: When it last gave a sign of life.
        version: The newest version of theta that was sent to it.
        held: Leases that take up its slots, those that were taken back included; in the
            order of their grants, which is that of computing.
        let_go_at: When it last answered or returned a lease.
        times: How long its tasks took of late.
        progress: Tasks done, as of its last heartbeat; for held leases only.
        shards_done: Updates of it that counted.
        failures: Attempts of it that came to nothing.
        draining: Whether it takes no more shards.
        held_back: The lease whose update waits for its turn, while its stream is not
            read; None: it is read.
        straggler: Whether its tasks take much longer than those of others.
    """

    info: WorkerJoined
    last_seen: float
    version: int | None = None
    held: dict[LeaseKey, HeldLease] = field(default_factory=dict)
    let_go_at: float = float("-inf")
    times: TaskTimes = field(default_factory=TaskTimes)
    progress: dict[LeaseKey, int] = field(default_factory=dict)
    shards_done: int = 0
    failures: int = 0
    draining: bool = False
    held_back: LeaseKey | None = None
    straggler: bool = False

    def computing_s(self, key: LeaseKey, now: float) -> float:
        """Seconds for which it has been at a lease that it holds.

        It computes one after another, so this one began when it was granted or when
        the one before was out of the way.
        """
        return now - max(self.held[key].granted_at, self.let_go_at)


@dataclass(slots=True)
class LiveLease:
    """A lease that still counts: not answered, not taken back.

    Attributes:
        worker: Who holds it.
        lease: What was granted.
        granted_at: When.
        deadline: When it ends.
        warn_at: When people are told if nothing of it is done; None: they were.
        slow: Whether it takes longer than is usual.
        on_straggler: Whether its worker was one when it was granted.
        progress_at: When its worker last told of one more task; the grant at first.
        backup: Whether another worker had the shard already.
        computed_at: When its update began to come, if it must wait for its turn.
    """

    worker: WorkerId
    lease: Lease
    granted_at: float
    deadline: float
    warn_at: float | None
    progress_at: float
    slow: bool = False
    on_straggler: bool = False
    backup: bool = False
    computed_at: float | None = None


@dataclass(slots=True)
class OpenRound:
    """The open round.

    Attributes:
        round_id: Counts rounds from 1.
        version: Version of theta that its shards start from.
        shards: What is computed.
        schema: Leaves that the sum of a training shard must have.
        updates: What is in.
        outliers: The norms of its updates; None: nobody asks.
        payload_bytes: Size of theta, and of each training update.
        announced_at: When people were last told what it waits for.
        most_share: As in the policy.
        counted_for: The identity whose update counted, by shard.
        opened_at: When it was opened.
        slow_leases: Live leases that are not slow yet.
        attempts: Leases given out so far, by shard.
        granted: Which worker process was given each of them.
        failures: Attempts that came to nothing, by shard.
        live: Leases that still count; at most two a shard, on two processes.
        to_back_up: Those that are slow or on a straggler, and alone at their shard.
    """

    round_id: int
    version: int
    shards: tuple[Shard, ...]
    schema: Schema
    updates: RoundUpdates
    outliers: OutlierCheck | None
    payload_bytes: int
    announced_at: float
    opened_at: float
    slow_leases: SlowLeases
    most_share: float = 1.0
    counted_for: dict[int, str] = field(default_factory=dict)
    attempts: dict[int, int] = field(default_factory=dict)
    granted: dict[LeaseKey, str] = field(default_factory=dict)
    failures: dict[int, list[Failure]] = field(default_factory=dict)
    live: dict[LeaseKey, LiveLease] = field(default_factory=dict)
    to_back_up: dict[LeaseKey, None] = field(default_factory=dict)

    def waiting(self) -> list[int]:
        """Shards that are not in and that nobody holds, in order."""
        leased = {key.shard for key in self.live}
        return [
            index
            for index in range(len(self.shards))
            if index not in self.updates and index not in leased
        ]

    def live_for(self, shard: int) -> list[LiveLease]:
        """Live leases of a shard."""
        return [live for key, live in self.live.items() if key.shard == shard]

    def live_of(self, worker: WorkerId) -> list[LeaseKey]:
        """Live leases of a worker."""
        return [key for key, live in self.live.items() if live.worker == worker]

    def start(self, key: LeaseKey, live: LiveLease, weight: int) -> None:
        """A lease was granted.

        Args:
            key: Which.
            live: What there is to know of it.
            weight: As in `SlowLeases.add`.
        """
        for other in [other for other in self.to_back_up if other.shard == key.shard]:
            del self.to_back_up[other]
        self.live[key] = live
        kind = live.lease.shard.kind
        self.slow_leases.add(key, kind, weight, live.granted_at)
        self.review(key)

    def review(self, key: LeaseKey) -> None:
        """See whether a live lease needs a backup."""
        live = self.live[key]
        if (live.slow or live.on_straggler) and len(self.live_for(key.shard)) == 1:
            self.to_back_up[key] = None

    def end(self, key: LeaseKey) -> LiveLease | None:
        """A lease no longer counts; what was known of it, if it did."""
        live = self.live.pop(key, None)
        if live is None:
            return None
        self.slow_leases.discard(key)
        self.to_back_up.pop(key, None)
        for other in [other for other in self.live if other.shard == key.shard]:
            self.review(other)
        return live


@dataclass(frozen=True, slots=True)
class Expected:
    """A worker that gets ready: it fetches the run's files, or builds the model.

    Attributes:
        name: What people call it.
        until: When it counts no more, unless it is heard of.
    """

    name: str
    until: float


@dataclass(slots=True)
class ClusterState:
    """All that the coordinator knows.

    Attributes:
        session: Unlike that of any other start of a coordinator.
        missing: Workers that must still come before the first lease is given.
        workers: Connected workers, in the order in which they joined.
        expected: Worker processes that get ready, by process_id.
        round: The open round.
        rounds_opened: Rounds so far.
        version: Version of theta in the newest round.
        over: Why the run ended; None while it has not.
        times: How long tasks took of late, whoever computed them, but for stragglers.
        paces: Average task times of workers.
        round_times: How long rounds took of late, by the kind of their first shard.
        norms: Of the displacements by updates of closed rounds.
        counted: Updates that counted, since the start.
        refused: Updates that the gate refused, since the start.
        backups: Leases granted as backups, since the start.
        failures: Attempts at shards that came to nothing, since the start.
        quarantine: Worker processes that failed at too many shards.
        drained: Worker processes that are to end, and why.
        paused: Why no leases are given out; None while they are.
        now: The time of the newest event.
        join_command: How to start a worker for this coordinator, for people.
    """

    session: str
    quarantine: Quarantine
    missing: int = 0
    workers: dict[WorkerId, WorkerRecord] = field(default_factory=dict)
    expected: dict[str, Expected] = field(default_factory=dict)
    round: OpenRound | None = None
    rounds_opened: int = 0
    version: int | None = None
    over: str | None = None
    times: TaskTimes = field(default_factory=TaskTimes)
    paces: Paces = field(default_factory=Paces)
    round_times: TaskTimes = field(default_factory=TaskTimes)
    norms: NormHistory = field(default_factory=NormHistory)
    counted: int = 0
    refused: int = 0
    backups: int = 0
    failures: Counter[Cause] = field(default_factory=Counter)
    drained: dict[str, str] = field(default_factory=dict)
    paused: str | None = None
    now: float = float("-inf")
    join_command: str = "`mlpeft-worker`"

    def expecting(self) -> list[str]:
        """Names of the workers that get ready, in the order in which they came."""
        return [one.name for one in self.expected.values() if one.until > self.now]

    def named(self, worker: str) -> tuple[WorkerId, ...]:
        """Connections of the worker with this name or id."""
        return tuple(
            worker_id
            for worker_id, record in self.workers.items()
            if worker in {worker_id, record.info.name}
        )

    def processes(self, identity: str) -> int:
        """How many connected processes an identity has."""
        return len(
            {
                worker.info.process_id
                for worker in self.workers.values()
                if worker.info.identity == identity
            }
        )

    def candidates(self, *, bounded: bool = True) -> list[Candidate]:
        """Connected workers, in the order in which they joined.

        Args:
            bounded: Whether an identity that holds its share of the round counts as
                busy. Not so for a shard that failed: it may have nobody else.
        """
        full = self._full() if bounded else frozenset()
        return [self.candidate(worker, full) for worker in self.workers.values()]

    def _full(self) -> frozenset[str]:
        """Identities that hold as many shards of the open round as they may."""
        current = self.round
        if current is None or current.most_share >= 1:
            return frozenset()
        held = Counter(current.counted_for.values())
        held.update(
            self.workers[live.worker].info.identity for live in current.live.values()
        )
        able = {
            worker.info.identity
            for worker in self.workers.values()
            if not worker.draining
            and self.quarantine.reason(*worker.info.suspects) is None
        }
        most = most_shards(len(current.shards), len(able), current.most_share)
        return frozenset(each for each, count in held.items() if count >= most)

    def candidate(
        self, worker: WorkerRecord, full: frozenset[str] = frozenset()
    ) -> Candidate:
        """A connected worker, as decisions see it.

        Args:
            worker: Which.
            full: Identities that get no more shards of the open round.
        """
        worker.straggler = self.paces.straggles(worker.info.worker)
        process_id = worker.info.process_id
        quarantined = self.quarantine.reason(*worker.info.suspects) is not None
        free = worker.info.slots - len(worker.held)
        takes = not (worker.draining or quarantined or worker.info.identity in full)
        live = self.round.live if self.round is not None else {}
        return Candidate(
            worker=worker.info.worker,
            name=worker.info.name,
            process_id=process_id,
            identity=worker.info.identity,
            free=free if takes else 0,
            draining=worker.draining,
            quarantined=quarantined,
            stuck=free == 0 and not any(key in live for key in worker.held),
            straggler=worker.straggler,
            untried=not worker.held and not self.paces.knows(worker.info.worker),
        )

    def usual(self, worker: WorkerRecord, kind: Kind) -> Usual | None:
        """What a task of this kind usually takes a worker; None: not known."""
        return usual_of(kind, worker.times, self.times)
