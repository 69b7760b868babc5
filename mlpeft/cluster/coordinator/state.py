"""What the coordinator knows: its workers and the open round.

Data and questions about it. Only `CoordinatorMachine` and its parts write here.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from mlpeft.cluster.coordinator.availability import Availability
from mlpeft.cluster.coordinator.durations import TaskTimes, usual_of
from mlpeft.cluster.coordinator.norm_history import NormHistory
from mlpeft.cluster.coordinator.paces import Paces
from mlpeft.cluster.policy import Candidate, most_shards

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from mlpeft.cluster.coordinator.audits import AuditResult
    from mlpeft.cluster.coordinator.durations import Usual
    from mlpeft.cluster.coordinator.free_workers import Rank
    from mlpeft.cluster.coordinator.messages import WorkerJoined
    from mlpeft.cluster.coordinator.open_round import LiveLease, OpenRound
    from mlpeft.cluster.coordinator.quarantine import Quarantine
    from mlpeft.cluster.policy import Cause, Failure, LateResult
    from mlpeft.cluster.protocol import LeaseKey, WorkerId
    from mlpeft.rounds import LateUpdate
    from mlpeft.work import Kind


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


@dataclass(frozen=True, slots=True)
class Transfer:
    """Bytes on their way.

    Attributes:
        label: Which: theta's version, or the lease that an update answers.
        since: When they were first heard of.
        done_bytes: What has arrived.
        total_bytes: All.
    """

    label: int | LeaseKey
    since: float
    done_bytes: int
    total_bytes: int


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
        away: Why it takes none for now; "" if it does.
        away_change: The newest `Away` that it sent.
        held_back: The lease whose update waits for its turn, while its stream is not
            read; None: it is read.
        straggler: Whether its tasks take much longer than those of others, as of when
            one of them was timed, or it was about to get a shard.
        joined: How many workers joined before it.
        sending: How far theta is on its way to it; None: there, or it takes no time.
        receiving: How far its update is on its way; None as above.
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
    away: str = ""
    away_change: int = 0
    held_back: LeaseKey | None = None
    straggler: bool = False
    joined: int = 0
    sending: Transfer | None = None
    receiving: Transfer | None = None

    def computing_s(self, key: LeaseKey, now: float) -> float:
        """Seconds for which it has been at a lease that it holds.

        It computes one after another, so this one began when it was granted or when
        the one before was out of the way.
        """
        return now - max(self.held[key].granted_at, self.let_go_at)


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
        joins: Workers that ever joined.
        availability: Which of them take shards.
        expected: Worker processes that get ready, by process_id.
        round: The open round.
        late: Closed rounds of which shards are still computed and would count, by
            their id.
        late_updates: Updates of such rounds that count in the next to close.
        rounds_opened: Rounds so far.
        version: Version of theta in the newest round.
        over: Why the run ended; None while it has not.
        times: How long tasks took of late, whoever computed them, but for stragglers.
        paces: Average task times of workers.
        round_times: How long rounds took of late, by the kind of their first shard.
        norms: Of the displacements by updates of closed rounds.
        counted: Updates that counted, since the start.
        refused: Updates that were refused, since the start.
        backups: Leases granted as backups, since the start.
        failures: Attempts at shards that came to nothing, since the start.
        audits: Audits that ended, since the start.
        late_results: Shards of closed rounds, since the start.
        quarantine: Worker processes that failed at too many shards.
        drained: Worker processes that are to end, and why.
        paused: Why no leases are given out; None while they are.
        told_spare: Whether it was said that there are more workers than shards.
        now: The time of the newest event.
        join_command: How to start a worker for this coordinator, for people.
    """

    session: str
    quarantine: Quarantine
    missing: int = 0
    workers: dict[WorkerId, WorkerRecord] = field(default_factory=dict)
    joins: int = 0
    availability: Availability = field(default_factory=Availability)
    expected: dict[str, Expected] = field(default_factory=dict)
    round: OpenRound | None = None
    late: dict[int, OpenRound] = field(default_factory=dict)
    late_updates: list[LateUpdate] = field(default_factory=list)
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
    audits: Counter[AuditResult] = field(default_factory=Counter)
    late_results: Counter[LateResult] = field(default_factory=Counter)
    drained: dict[str, str] = field(default_factory=dict)
    paused: str | None = None
    told_spare: bool = False
    now: float = float("-inf")
    join_command: str = "`mlpeft-worker`"

    def expecting(self) -> list[str]:
        """Names of the workers that get ready, in the order in which they came."""
        return [one.name for one in self.expected.values() if one.until > self.now]

    def rounds(self) -> list[OpenRound]:
        """Rounds whose leases count: the open one, and those that closed early."""
        current = [] if self.round is None else [self.round]
        return [*current, *self.late.values()]

    def round_of(self, key: LeaseKey) -> OpenRound | None:
        """The round of a lease; None: nothing of it counts any more."""
        if key.session != self.session:
            return None
        if self.round is not None and self.round.round_id == key.round_id:
            return self.round
        return self.late.get(key.round_id)

    def live_lease(self, key: LeaseKey) -> LiveLease | None:
        """What is known of a lease; None: it no longer counts."""
        current = self.round_of(key)
        return None if current is None else current.live.get(key)

    def named(self, worker: str) -> tuple[WorkerId, ...]:
        """Connections of the worker with this name or id."""
        return tuple(
            worker_id
            for worker_id, record in self.workers.items()
            if worker in {worker_id, record.info.name}
        )

    def processes(self, identity: str) -> int:
        """How many connected processes an identity has."""
        workers = self.availability.by_identity.get(identity, ())
        return len({self.workers[worker].info.process_id for worker in workers})

    # --- workers that come, change and go ---------------------------------------------

    def add(self, info: WorkerJoined) -> None:
        """A worker connected."""
        self.joins += 1
        self.workers[info.worker] = WorkerRecord(info, self.now, joined=self.joins)
        self.availability.add(info)
        self.refresh(info.worker)

    def remove(self, worker_id: WorkerId) -> None:
        """A worker left."""
        worker = self.workers.pop(worker_id)
        self.availability.remove(worker.info)
        self.paces.forget(worker_id)

    def remove_all(self) -> list[WorkerId]:
        """The run is over; who was connected."""
        workers = list(self.workers)
        for worker in workers:
            self.remove(worker)
        return workers

    def refresh(self, worker_id: WorkerId) -> None:
        """Something changed that decides whether a worker gets shards."""
        worker = self.workers.get(worker_id)
        if worker is None:
            return
        free = worker.info.slots > len(worker.held)
        self.availability.update(
            worker.info,
            able=self.is_able(worker),
            stuck=self._is_stuck(worker),
            rank=self.rank(worker) if free else None,
        )

    def is_able(self, worker: WorkerRecord) -> bool:
        """Whether a worker accepts shards, now or when a slot is free."""
        suspects = worker.info.suspects
        there = not worker.draining and not worker.away
        return there and self.quarantine.reason(*suspects) is None

    def rank(self, worker: WorkerRecord) -> Rank:
        """A worker's place among those with a free slot."""
        free = worker.info.slots - len(worker.held)
        return worker.straggler, -free, not self._is_untried(worker), worker.joined

    def _is_untried(self, worker: WorkerRecord) -> bool:
        return not worker.held and not self.paces.knows(worker.info.worker)

    def _is_stuck(self, worker: WorkerRecord) -> bool:
        """Whether revoked leases occupy all slots of a worker."""
        full = len(worker.held) >= worker.info.slots
        return full and all(self.live_lease(key) is None for key in worker.held)

    # --- who gets a shard -------------------------------------------------------------

    def best_free(
        self,
        tried: Collection[str] = (),
        processes: Collection[str] = (),
        *,
        bounded: bool,
    ) -> WorkerRecord | None:
        """The best worker with a free slot; None: there is none.

        Args:
            tried: Identities that do not count.
            processes: Worker processes that do not count.
            bounded: As in `candidates`.
        """

        def counts(identity: str) -> bool:
            return identity not in tried and not (bounded and self._is_full(identity))

        return self._surface(lambda: self.availability.free.first(counts, processes))

    def best_backup(
        self,
        holder: WorkerJoined,
        failures: Sequence[Failure],
        heard: Collection[str] = (),
    ) -> WorkerRecord | None:
        """The best worker for a backup; None: there is none with a free slot.

        It is of another process than the holder and those that failed. Then comes that
        it is no straggler, and then that it is of another identity: what ails a machine
        ails its processes.

        Args:
            holder: Who has the shard.
            failures: Failed attempts at it.
            heard: Identities that do not count: they have answered it.
        """
        processes = {failure.process_id for failure in failures} | {holder.process_id}
        known = {failure.identity for failure in failures} | {holder.identity}
        other = self.best_free({*known, *heard}, processes, bounded=True)
        if other is not None and not other.straggler:
            return other
        same = [each for each in known.difference(heard) if not self._is_full(each)]
        kin = self._surface(lambda: self.availability.free.first_of(same, processes))
        return kin if other is None or (kin and not kin.straggler) else other

    def _surface(self, search: Callable[[], WorkerId | None]) -> WorkerRecord | None:
        """The worker that a search finds once it is known whether it straggles.

        That may have changed without an event of its own, as others became faster.
        """
        while (worker_id := search()) is not None:
            worker = self.workers[worker_id]
            straggles = self.paces.straggles(worker_id)
            if straggles == worker.straggler:
                return worker
            worker.straggler = straggles
            self.refresh(worker_id)
        return None

    def _is_full(self, identity: str) -> bool:
        """Whether an identity holds as many shards of the open round as it may."""
        current = self.round
        if current is None or current.most_share >= 1:
            return False
        able, share = len(self.availability.able), current.most_share
        most = most_shards(len(current.shards), able, share)
        return current.shares[identity] >= most

    def candidates(self, *, bounded: bool = True) -> list[Candidate]:
        """Connected workers, in the order in which they joined. O(workers).

        Args:
            bounded: Whether an identity that holds its share of the round counts as
                busy. Not so for a shard that failed: it may have nobody else.
        """
        return [
            self.candidate(worker, bounded=bounded) for worker in self.workers.values()
        ]

    def candidate(self, worker: WorkerRecord, *, bounded: bool = False) -> Candidate:
        """A connected worker, as decisions see it; `bounded` as in `candidates`."""
        info = worker.info
        takes = self.is_able(worker) and not (bounded and self._is_full(info.identity))
        return Candidate(
            worker=info.worker,
            name=info.name,
            process_id=info.process_id,
            identity=info.identity,
            free=info.slots - len(worker.held) if takes else 0,
            draining=worker.draining,
            away=worker.away,
            quarantined=self.quarantine.reason(*info.suspects) is not None,
            stuck=self._is_stuck(worker),
            straggler=worker.straggler,
            untried=self._is_untried(worker),
        )

    def usual(self, worker: WorkerRecord, kind: Kind) -> Usual | None:
        """What a task of this kind usually takes a worker; None: not known."""
        return usual_of(kind, worker.times, self.times)
