"""The coordinator as a state machine: `handle(event, now) -> commands`.

Rules that this file obeys, and that `invariants.check_books` checks:

- Nothing but `handle` changes state. Time comes in as an argument (any monotonic clock,
  in seconds) and never goes back.
- An event that our own side may not send now (a round while one is open) raises
  LocalProtocolError and changes nothing. Whatever the network can do (late, repeated or
  misdirected messages, workers that are gone) is legal and at most frees a slot.
- The first valid update of a shard wins, whichever lease it answers. That changes no
  bits: a shard's update is the same wherever it is computed.
- A shard has at most two live leases, on two processes.
- A worker holds at most as many leases as it has slots. A lease that was taken back
  keeps its slot until the worker says that it let go.
- Theta of a version goes to a worker once, before the first lease that needs it.

One shard's way through a round:

    waiting --grant--> leased --valid update------------------------> in
       ^                 |  |
       |                 |  +-- slow, and somebody idle: a second lease, the backup
       +-- lost, failed, refused, out of time (each a Failure; too many fail the round)

What happens where: `roster` workers come and go, `leasing` who computes what, `intake`
what comes back, `steering` what an operator asks, and here rounds and time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, assert_never

from mlpeft.cluster import status
from mlpeft.cluster.coordinator import waits
from mlpeft.cluster.coordinator.invariants import check_books
from mlpeft.cluster.coordinator.leases import Leases
from mlpeft.cluster.coordinator.membership import Roster
from mlpeft.cluster.coordinator.messages import (
    CoordinatorEvent,
    DismissWorker,
    DrainRequested,
    HeartbeatReceived,
    LeaseReturned,
    PauseRequested,
    ReleaseRequested,
    ResumeRequested,
    RoundAbandoned,
    RoundOpened,
    RunEnded,
    UpdateReceived,
    UploadHeld,
    WorkerDraining,
    WorkerExpected,
    WorkerJoined,
    WorkerLeft,
)
from mlpeft.cluster.coordinator.operator import Steering
from mlpeft.cluster.coordinator.ordered_sum import Fold
from mlpeft.cluster.coordinator.outliers import OutlierCheck
from mlpeft.cluster.coordinator.quarantine import Quarantine
from mlpeft.cluster.coordinator.state import Books, RoundBook
from mlpeft.cluster.coordinator.updates import Intake
from mlpeft.cluster.messages import (
    Announce,
    LeaseKey,
    Level,
    TimePassed,
    WorkerId,
)
from mlpeft.errors import LocalProtocolError
from mlpeft.params import schema

if TYPE_CHECKING:
    from mlpeft.cluster.coordinator.leases import Commands
    from mlpeft.cluster.coordinator.updates import Turn
    from mlpeft.cluster.policy import Policy
    from mlpeft.work import Shard


class CoordinatorState:
    """Hands out shards and takes in updates.

    Args:
        session: Unlike that of any other start of a coordinator.
        policy: The numbers that decisions turn on.
    """

    def __init__(self, session: str, policy: Policy) -> None:
        self.policy = policy
        quarantine = Quarantine(policy.quarantine_after, policy.quarantine_s)
        self._books = Books(session, quarantine, missing=policy.min_workers)
        self._leases = Leases(self._books, policy)
        self._roster = Roster(self._books, policy, self._leases)
        self._intake = Intake(self._books, self._leases)
        self._steering = Steering(self._books, self._roster, self._leases)

    def invite(self, command: str) -> None:
        """Say how a worker is started; it decides nothing, but stands in messages."""
        self._books.invitation = command

    # --- the one door -----------------------------------------------------------------

    def handle(self, event: CoordinatorEvent, now: float) -> Commands:
        """Take in what happened; return what to do about it, in order.

        Args:
            event: What happened.
            now: Seconds on a monotonic clock.

        Raises:
            LocalProtocolError: If this side may not send it now; nothing changed.
        """
        self._check_legal(event, now)
        due = max(self._books.now, self.next_wakeup() or now)
        self._books.now = now
        commands = self._take_in(event, due)
        commands += self._leases.settle()
        if isinstance(event, TimePassed):
            commands += self._announce_wait()
        return commands

    def _take_in(  # noqa: C901, PLR0911, PLR0912 - one exhaustive match
        self, event: CoordinatorEvent, due: float
    ) -> Commands:
        match event:
            case WorkerExpected():
                return self._roster.expected(event)
            case WorkerJoined():
                return self._roster.joined(event)
            case WorkerLeft():
                return self._roster.left(event.worker, event.reason)
            case HeartbeatReceived():
                return self._roster.heartbeat(event)
            case UpdateReceived():
                return self._intake.update(event)
            case UploadHeld():
                return self._leases.hold(event.worker, event.key)
            case LeaseReturned():
                return self._intake.returned(event)
            case WorkerDraining():
                return self._roster.draining(event)
            case RoundOpened():
                return self._open_round(event)
            case RoundAbandoned():
                return self._leases.close_round(event.reason)
            case RunEnded():
                return self._end_run(event.reason)
            case PauseRequested():
                return self._steering.pause(event.reason)
            case ResumeRequested():
                return self._steering.resume()
            case DrainRequested():
                return self._steering.drain(event)
            case ReleaseRequested():
                return self._steering.release(event.worker)
            case TimePassed():
                return self._time_passed(due)
            case _:
                assert_never(event)

    def next_wakeup(self) -> float | None:
        """When to send TimePassed next; None: not before the next event."""
        if self._books.over is not None:
            return None
        times = self._roster.wakeups() + self._leases.wakeups()
        if self._books.round is not None:
            times.append(self._books.round.announced_at + self.policy.announce_s)
        return min(times, default=None)

    def named(self, worker: str) -> tuple[WorkerId, ...]:
        """Connections of the worker with this name or id."""
        return self._books.named(worker)

    def upload_turn(self, worker: WorkerId, key: LeaseKey) -> Turn:
        """Whether a large update whose head has come is to be read now."""
        return self._intake.turn(worker, key, self.policy.room_bytes)

    def status(self, now: float) -> status.ClusterStatus:
        """A picture of everything, for people and scripts."""
        return status.picture(self._books, now)

    def check_invariants(self) -> None:
        """Raise AssertionError if the books contradict themselves; for tests."""
        check_books(self._books, self.policy)

    def _check_legal(self, event: CoordinatorEvent, now: float) -> None:
        """Raise if our own side broke the rules; before anything changes."""
        books = self._books
        if now < books.now:
            raise LocalProtocolError(
                f"the clock went back from {books.now} to {now}; use a monotonic clock"
            )
        match event:
            case WorkerJoined(worker=worker, slots=slots):
                if worker in books.workers:
                    raise LocalProtocolError(f"worker id {worker} is already in use")
                if slots < 1:
                    raise LocalProtocolError(f"worker {worker} has {slots} slots")
            case RoundOpened(version=version, shards=shards):
                self._check_round(version, shards)
            case _:
                pass

    def _check_round(self, version: int, shards: tuple[Shard, ...]) -> None:
        books = self._books
        if books.over is not None:
            raise LocalProtocolError(f"a round was opened after the end: {books.over}")
        if books.round is not None:
            raise LocalProtocolError(
                f"a round was opened while round {books.round.round_id} is open"
            )
        if books.version is not None and version < books.version:
            raise LocalProtocolError(
                f"theta's version went back from {books.version} to {version}"
            )
        indices = [shard.index for shard in shards]
        if not shards or indices != list(range(len(shards))):
            raise LocalProtocolError(f"a round needs shards 0 .. n - 1, got {indices}")

    # --- rounds -----------------------------------------------------------------------

    def _open_round(self, event: RoundOpened) -> Commands:
        books, factor = self._books, self.policy.norm_factor
        books.rounds_opened += 1
        books.version = event.version
        books.round = RoundBook(
            round_id=books.rounds_opened,
            version=event.version,
            shards=event.shards,
            schema=schema(event.meta),
            fold=Fold() if self.policy.fold else None,
            payload_bytes=sum(leaf.nbytes for leaf in event.meta.values()),
            outliers=OutlierCheck(books.norms.limit(factor), event.meta)
            if factor
            else None,
            announced_at=books.now,
        )
        return []

    def _end_run(self, reason: str) -> Commands:
        if self._books.over is not None:
            return []
        self._books.over = reason
        self._books.round = None
        workers, self._books.workers = self._books.workers, {}
        return [DismissWorker(worker, reason, run_over=True) for worker in workers]

    # --- time -------------------------------------------------------------------------

    def _time_passed(self, due: float) -> Commands:
        self._forgive_stall(due)
        return self._roster.lose_silent() + self._leases.time_passed()

    def _forgive_stall(self, due: float) -> None:
        """If this side slept (a closed lid, a debugger), nobody else was late.

        Args:
            due: When the event should have come, as far as anybody was awake to see.
        """
        books, grace_s = self._books, self.policy.lost_after_s
        late = books.now - due
        if late <= grace_s / 2:
            return
        for worker in books.workers.values():
            worker.last_seen = books.now
        for live in books.round.live.values() if books.round else ():
            live.deadline = max(live.deadline + late, books.now + grace_s)
            if live.slow_at is not None:
                live.slow_at = max(live.slow_at + late, books.now + grace_s)
            if live.warn_at is not None:
                live.warn_at = max(live.warn_at + late, books.now + grace_s)

    def _announce_wait(self) -> Commands:
        """Every few seconds, what the open round waits for."""
        current, now = self._books.round, self._books.now
        if current is None or now < current.announced_at + self.policy.announce_s:
            return []
        current.announced_at = now
        return [Announce(Level.INFO, waits.wait(self._books))]
