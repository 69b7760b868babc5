"""The coordinator as a state machine: `handle(event, now) -> commands`.

Rules that this file obeys, and that `invariants.check_books` checks:

- Nothing but `handle` changes state. Time comes in as an argument (any monotonic clock,
  in seconds) and never goes back.
- An event that our own side may not send now (a round while one is open) raises
  LocalProtocolError and changes nothing. Whatever the network can do (late, repeated or
  misdirected messages, workers that are gone) is legal and at most frees a slot.
- The first valid update of a shard wins, whichever lease it answers. That changes no
  bits: a shard's update is the same wherever it is computed.
- A worker holds at most as many leases as it has slots. A lease that was taken back
  keeps its slot until the worker says that it let go.
- Theta of a version goes to a worker once, before the first lease that needs it.

One shard's way through a round:

    waiting --grant--> leased --valid update------------------------> in
       ^                 |
       +-- lost, failed, refused, late (each a Failure; too many fail the round)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, assert_never

from mlpeft.cluster import gate, rounds, status, waits
from mlpeft.cluster.books import Books, LiveLease, RoundBook, WorkerBook
from mlpeft.cluster.coordinator_messages import (
    CompleteRound,
    CoordinatorCommand,
    CoordinatorEvent,
    DismissWorker,
    DrainRequested,
    DrainWorker,
    FailRound,
    GrantLease,
    HeartbeatReceived,
    LeaseReturned,
    PauseRequested,
    ResumeRequested,
    RevokeLease,
    RoundAbandoned,
    RoundOpened,
    RunEnded,
    SendTheta,
    UpdateReceived,
    WorkerDraining,
    WorkerJoined,
    WorkerLeft,
)
from mlpeft.cluster.invariants import check_books
from mlpeft.cluster.messages import (
    Announce,
    Lease,
    LeaseKey,
    Level,
    TimePassed,
    WorkerId,
)
from mlpeft.cluster.outliers import OutlierCheck, Verdict
from mlpeft.cluster.rounds import Cause, Failure, Policy
from mlpeft.errors import LocalProtocolError
from mlpeft.params import schema
from mlpeft.work import Kind

if TYPE_CHECKING:
    from mlpeft.work import Shard, ShardUpdate

Commands = list[CoordinatorCommand]


class CoordinatorState:
    """Hands out shards and takes in updates.

    Args:
        session: Unlike that of any other start of a coordinator.
        policy: The numbers that decisions turn on.
    """

    def __init__(self, session: str, policy: Policy) -> None:
        self.policy = policy
        self._books = Books(session, missing=policy.min_workers)

    def invite(self, command: str) -> None:
        """Say how a worker is started; it decides nothing, but stands in messages."""
        self._books.invitation = command

    # --- the one door -----------------------------------------------------------------

    def handle(  # noqa: C901, PLR0911, PLR0912 - one exhaustive match
        self, event: CoordinatorEvent, now: float
    ) -> Commands:
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
        match event:
            case WorkerJoined():
                return self._worker_joined(event)
            case WorkerLeft():
                return self._worker_left(event.worker, event.reason)
            case HeartbeatReceived():
                return self._heartbeat(event)
            case UpdateReceived():
                return self._update(event)
            case LeaseReturned():
                return self._returned(event)
            case WorkerDraining():
                return self._draining(event)
            case RoundOpened():
                return self._open_round(event)
            case RoundAbandoned():
                return self._close_round(event.reason)
            case RunEnded():
                return self._end_run(event.reason)
            case PauseRequested():
                return self._pause(event.reason)
            case ResumeRequested():
                return self._resume()
            case DrainRequested():
                return self._drain(event)
            case TimePassed():
                return self._time_passed(due)
            case _:
                assert_never(event)

    def next_wakeup(self) -> float | None:
        """When to send TimePassed next; None: not before the next event."""
        books, policy = self._books, self.policy
        times = [
            worker.last_seen + policy.lost_after_s for worker in books.workers.values()
        ]
        if books.round is not None:
            times += [live.deadline for live in books.round.live.values()]
            times.append(books.round.announced_at + policy.announce_s)
        return min(times, default=None)

    def named(self, worker: str) -> tuple[WorkerId, ...]:
        """Connections of the worker with this name or id."""
        return self._books.named(worker)

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

    # --- workers ----------------------------------------------------------------------

    def _worker_joined(self, event: WorkerJoined) -> Commands:
        books = self._books
        if books.over is not None:
            return [DismissWorker(event.worker, books.over, run_over=True)]
        books.workers[event.worker] = WorkerBook(info=event, last_seen=books.now)
        self._forgive(event.incarnation)
        text = f"worker {event.name} joined ({len(books.workers)} connected)"
        commands: Commands = [Announce(Level.INFO, text, event.name)]
        if event.incarnation in books.drained:  # it may not have heard: its line broke
            commands += self._drain_worker(event.worker)
        return commands + self._grant()

    def _forgive(self, incarnation: str) -> None:
        """A process that comes back did not crash on a shard: only the line broke."""
        if self._books.round is None:
            return
        for shard, failures in self._books.round.failures.items():
            self._books.round.failures[shard] = [
                failure
                for failure in failures
                if failure.incarnation != incarnation or failure.cause is not Cause.LOST
            ]

    def _worker_left(self, worker_id: WorkerId, reason: str) -> Commands:
        worker = self._books.workers.get(worker_id)
        if worker is None:
            return []
        current = self._books.round
        lost = current.live_of(worker_id) if current else []
        for key in lost:
            if worker.draining:  # a lease that crossed its farewell is nobody's failure
                self._drop(key)
            else:
                self._attempt_failed(worker, key, Cause.LOST, reason)
        del self._books.workers[worker_id]
        again = ", ".join(f"shard {key.shard} is leased again" for key in lost)
        text = (
            f"worker {worker.info.name} left: {reason}; {again + '; ' if lost else ''}"
            f"{len(self._books.workers)} connected"
        )
        level = Level.WARNING if lost else Level.INFO
        return [Announce(level, text, worker.info.name), *self._fail_or_grant()]

    def _heartbeat(self, event: HeartbeatReceived) -> Commands:
        worker = self._books.workers.get(event.worker)
        if worker is None:
            return []
        worker.last_seen = self._books.now
        worker.progress = {
            key: tasks for key, tasks in event.progress if key in worker.held
        }
        return []

    def _draining(self, event: WorkerDraining) -> Commands:
        worker = self._books.workers.get(event.worker)
        if worker is None or worker.draining:
            return []
        worker.last_seen = self._books.now
        worker.draining = True
        name = worker.info.name
        return [Announce(Level.INFO, f"worker {name} takes no more shards", name)]

    # --- what comes back --------------------------------------------------------------

    def _update(self, event: UpdateReceived) -> Commands:
        worker = self._books.workers.get(event.worker)
        if worker is None:
            return []
        self._release(worker, event.key)
        current = self._wanting(event.key)
        if current is None:
            return self._grant()
        shard = current.shards[event.key.shard]
        refused = _refusal(current, shard, event, worker.info.incarnation)
        if event.update is None or refused is not None:
            return self._refuse(worker, event.key, refused or "it is not there")
        verdict = self._judge(current, event.key, event.update, worker)
        if verdict.refusal is not None:
            return self._refuse(worker, event.key, verdict.refusal)
        commands = self._clear(event.key, worker, verdict)
        current.updates[shard.index] = event.update
        worker.shards_done += 1
        commands += self._revoke_others(current, shard.index)
        if len(current.updates) < len(current.shards):
            return commands + self._grant()
        self._books.round = None
        self._books.norms.add(current.outliers.norms())
        updates = tuple(current.updates[index] for index in range(len(current.shards)))
        return [*commands, CompleteRound(current.round_id, updates)]

    def _judge(
        self, current: RoundBook, key: LeaseKey, update: ShardUpdate, worker: WorkerBook
    ) -> Verdict:
        """Whether an update that is sound moves theta as others do."""
        if current.shards[key.shard].kind is not Kind.TRAIN:
            return Verdict()
        able = [other for other in self._books.candidates() if not other.draining]
        return current.outliers.judge(
            update, key.attempt, worker.info.incarnation, alone=len(able) <= 1
        )

    def _clear(self, key: LeaseKey, worker: WorkerBook, verdict: Verdict) -> Commands:
        """Whoever found an outlier that is confirmed did not fail."""
        if not verdict.confirmed:
            return []
        found = [
            other
            for other in self._books.workers.values()
            if other.info.incarnation in verdict.confirmed
        ]
        for other in found:
            other.failures = max(0, other.failures - 1)
        names = " and ".join(
            dict.fromkeys(other.info.name for other in [*found, worker])
        )
        text = f"{key} is unusual but right: {names} agree"
        return [Announce(Level.INFO, text, key=key)]

    def _refuse(self, worker: WorkerBook, key: LeaseKey, refused: str) -> Commands:
        self._books.refused += 1
        text = f"update of {key} by worker {worker.info.name} refused: {refused}"
        if self._is_live(worker, key):
            self._attempt_failed(worker, key, Cause.REFUSED, refused)
        told = Announce(Level.WARNING, text, worker.info.name, key)
        return [told, *self._fail_or_grant()]

    def _returned(self, event: LeaseReturned) -> Commands:
        worker = self._books.workers.get(event.worker)
        if worker is None:
            return []
        self._release(worker, event.key)
        if not self._is_live(worker, event.key):
            return self._grant()
        if event.failed:
            self._attempt_failed(worker, event.key, Cause.FAILED, event.reason)
            name = worker.info.name
            text = f"worker {name} failed at {event.key}: {event.reason}"
            told = Announce(Level.WARNING, text, name, event.key)
            return [told, *self._fail_or_grant()]
        self._drop(event.key)
        return self._grant()

    def _wanting(self, key: LeaseKey) -> RoundBook | None:
        """The open round, if an update of this shard would still be of use to it."""
        current = self._books.round
        if current is None or key[:2] != (self._books.session, current.round_id):
            return None
        known = 0 <= key.shard < len(current.shards)
        return current if known and key.shard not in current.updates else None

    def _release(self, worker: WorkerBook, key: LeaseKey) -> None:
        """A message about a lease is a sign of life, and frees the lease's slot."""
        worker.last_seen = self._books.now
        worker.held.discard(key)
        worker.progress.pop(key, None)

    # --- leases -----------------------------------------------------------------------

    def _is_live(self, worker: WorkerBook, key: LeaseKey) -> bool:
        """Whether the worker holds this lease and it still counts."""
        live = self._books.round.live.get(key) if self._books.round else None
        return live is not None and live.worker == worker.info.worker

    def _drop(self, key: LeaseKey) -> None:
        """The lease no longer counts."""
        if self._books.round is not None:
            self._books.round.live.pop(key, None)

    def _attempt_failed(
        self, worker: WorkerBook, key: LeaseKey, cause: Cause, reason: str
    ) -> None:
        """A live lease came to nothing: note it in the shard's story."""
        self._drop(key)
        worker.failures += 1
        if self._books.round is not None:
            name, incarnation = worker.info.name, worker.info.incarnation
            failure = Failure(key.attempt, name, incarnation, cause, reason)
            self._books.round.failures.setdefault(key.shard, []).append(failure)

    def _revoke_others(self, current: RoundBook, shard: int) -> Commands:
        """A shard is in: forget its leases, and tell those who still compute it."""
        commands: Commands = []
        for key in [key for key in current.live if key.shard == shard]:
            live = current.live.pop(key)
            if key in self._books.workers[live.worker].held:
                commands.append(RevokeLease(live.worker, key, "the shard is in"))
        return commands

    def _grant(self) -> Commands:
        """Hand out waiting shards while there are free slots for them."""
        books, current = self._books, self._books.round
        if books.missing:  # once all are there, it never counts again
            books.missing = max(0, self.policy.min_workers - len(books.workers))
        if current is None or books.missing or books.paused is not None:
            return []
        commands: Commands = []
        for index in current.waiting():
            chosen, _ = rounds.choose_worker(
                books.candidates(), current.failures.get(index, ())
            )
            if chosen is not None:
                commands += self._lease(current, index, books.workers[chosen])
        return commands

    def _lease(self, current: RoundBook, index: int, worker: WorkerBook) -> Commands:
        now, lease_s = self._books.now, self.policy.lease_s
        attempt = current.attempts.get(index, 0) + 1
        current.attempts[index] = attempt
        key = LeaseKey(self._books.session, current.round_id, index, attempt)
        current.granted[key] = worker.info.incarnation
        lease = Lease(key, current.version, current.shards[index], lease_s)
        to = worker.info.worker
        current.live[key] = LiveLease(to, lease, now, deadline=now + lease_s)
        worker.held.add(key)
        if worker.version == current.version:
            return [GrantLease(to, lease)]
        worker.version = current.version
        return [SendTheta(to, current.version), GrantLease(to, lease)]

    # --- rounds -----------------------------------------------------------------------

    def _open_round(self, event: RoundOpened) -> Commands:
        books = self._books
        books.rounds_opened += 1
        books.version = event.version
        books.round = RoundBook(
            round_id=books.rounds_opened,
            version=event.version,
            shards=event.shards,
            schema=schema(event.meta),
            outliers=OutlierCheck(
                books.norms.limit(self.policy.norm_factor), event.meta
            ),
            announced_at=books.now,
        )
        return self._grant()

    def _fail_or_grant(self) -> Commands:
        """After failures: fail the round if a shard had too many, else go on."""
        current = self._books.round
        if current is None:
            return []
        for shard, failures in current.failures.items():
            if shard in current.updates:
                continue
            if rounds.too_many_failures(failures, self.policy):
                story = rounds.story(current.round_id, shard, failures)
                commands = self._close_round("the round failed")
                return [*commands, FailRound(current.round_id, story)]
        return self._grant()

    def _close_round(self, reason: str) -> Commands:
        """Close the round without a result; legal if it was just completed."""
        current, self._books.round = self._books.round, None
        live = current.live.items() if current else ()
        return [RevokeLease(lease.worker, key, reason) for key, lease in live]

    def _end_run(self, reason: str) -> Commands:
        if self._books.over is not None:
            return []
        self._books.over = reason
        self._books.round = None
        workers, self._books.workers = self._books.workers, {}
        return [DismissWorker(worker, reason, run_over=True) for worker in workers]

    # --- steering ---------------------------------------------------------------------

    def _pause(self, reason: str) -> Commands:
        if self._books.paused is not None:
            return []
        self._books.paused = reason
        text = f"paused: {reason}; shards in hand are finished, no others begin"
        return [Announce(Level.INFO, text)]

    def _resume(self) -> Commands:
        if self._books.paused is None:
            return []
        self._books.paused = None
        return [Announce(Level.INFO, "resumed"), *self._grant()]

    def _drain(self, event: DrainRequested) -> Commands:
        commands: Commands = []
        for worker_id in self._books.named(event.worker):
            worker = self._books.workers[worker_id]
            if worker.info.incarnation in self._books.drained:
                continue
            self._books.drained[worker.info.incarnation] = event.reason
            text = f"worker {worker.info.name} is drained: {event.reason}"
            commands.append(Announce(Level.INFO, text, worker.info.name))
            commands += self._drain_worker(worker_id)
        return commands

    def _drain_worker(self, worker_id: WorkerId) -> Commands:
        worker = self._books.workers[worker_id]
        worker.draining = True
        return [DrainWorker(worker_id, self._books.drained[worker.info.incarnation])]

    # --- time -------------------------------------------------------------------------

    def _time_passed(self, due: float) -> Commands:
        self._forgive_stall(due)
        commands = self._lose_silent_workers() + self._expire_leases()
        current, now = self._books.round, self._books.now
        if current is None or now < current.announced_at + self.policy.announce_s:
            return commands
        current.announced_at = now
        return [*commands, Announce(Level.INFO, waits.wait(self._books))]

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

    def _lose_silent_workers(self) -> Commands:
        commands: Commands = []
        for worker_id, worker in list(self._books.workers.items()):
            # Compared as next_wakeup computes it: rounding must not make them differ.
            if self._books.now >= worker.last_seen + self.policy.lost_after_s:
                silent_s = self._books.now - worker.last_seen
                reason = f"no heartbeat for {silent_s:.1f} s"
                commands += self._worker_left(worker_id, reason)
                commands.append(DismissWorker(worker_id, reason, run_over=False))
        return commands

    def _expire_leases(self) -> Commands:
        current = self._books.round
        if current is None:
            return []
        commands: Commands = []
        for key, live in list(current.live.items()):
            if self._books.now < live.deadline:
                continue
            worker = self._books.workers[live.worker]
            reason = f"not done within {live.lease.lease_s:g} s"
            self._attempt_failed(worker, key, Cause.LATE, reason)
            name = worker.info.name
            text = f"worker {name}: {key}: {reason}"
            commands.append(Announce(Level.WARNING, text, name, key))
            commands.append(RevokeLease(live.worker, key, reason))
        return commands + self._fail_or_grant() if commands else []


def _refusal(
    current: RoundBook, shard: Shard, event: UpdateReceived, incarnation: str
) -> str | None:
    """Why an update may not count, or None if it may."""
    if event.fault:
        return event.fault
    if current.granted.get(event.key) != incarnation:
        return "it answers a lease that this worker was not given"
    if event.version != current.version:
        return (
            f"it started from theta version {event.version}, expected {current.version}"
        )
    if event.update is None:
        return None
    return gate.refusal(shard, current.schema, event.update)
