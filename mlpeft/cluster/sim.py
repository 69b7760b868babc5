"""A cluster in one thread: virtual clock, hostile network, and the real state machines.

A `Simulation` joins one `CoordinatorState` and some `WorkerState`s by a network that
delays, repeats and reorders messages and drops connections, while workers crash,
freeze, lie and come back, and the coordinator restarts from its newest theta. All that
is random comes from one seed, so that a schedule can be replayed:

    Simulation(seed=17).run().tobytes() == serial_result(rounds=6).tobytes()

Tasks are a few float32 operations, chosen so that another order of summation or another
theta gives other bits; MLX is not needed.
"""

from __future__ import annotations

import heapq
import itertools
from collections import deque
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from mlpeft.cluster.coordinator_messages import (
    CompleteRound,
    DismissWorker,
    FailRound,
    GrantLease,
    HeartbeatReceived,
    LeaseReturned,
    RevokeLease,
    RoundOpened,
    RunEnded,
    SendTheta,
    UpdateReceived,
    WorkerDraining,
    WorkerJoined,
    WorkerLeft,
)
from mlpeft.cluster.coordinator_state import CoordinatorState
from mlpeft.cluster.messages import Announce, Lease, TimePassed, WorkerId
from mlpeft.cluster.outliers import LEAST_NORMS
from mlpeft.cluster.rounds import Policy
from mlpeft.cluster.worker_messages import (
    CancelShard,
    ComputeShard,
    CoordinatorJoined,
    DialCoordinator,
    LeaseGranted,
    LeaseRevoked,
    ReturnLease,
    RunOver,
    SendDraining,
    SendHeartbeat,
    SendUpdate,
    ShardCancelled,
    ShardComputed,
    ShardFailed,
    Started,
    Stop,
    StreamLost,
    ThetaReceived,
)
from mlpeft.cluster.worker_state import WorkerPolicy, WorkerState
from mlpeft.work import Kind, Shard, ShardUpdate, TaskSpec

if TYPE_CHECKING:
    from collections.abc import Callable

    from mlpeft.cluster.coordinator_messages import CoordinatorCommand, CoordinatorEvent
    from mlpeft.cluster.worker_messages import WorkerCommand, WorkerEvent
    from mlpeft.params import ParamTree

Vector = np.ndarray[Any, np.dtype[np.float32]]


TOY_SIZE = 16
"""Numbers in the toy run's theta."""


# --- the toy run ----------------------------------------------------------------------


def toy_shards(round_index: int, shards: int = 3, tasks: int = 2) -> tuple[Shard, ...]:
    """The shards of a round of the toy run."""
    return tuple(
        Shard(
            round=round_index,
            index=index,
            kind=Kind.TRAIN,
            tasks=tuple(
                TaskSpec("toy", seed=1000 * round_index + 10 * index + task)
                for task in range(tasks)
            ),
        )
        for index in range(shards)
    )


def toy_update(theta: Vector, shard: Shard) -> ShardUpdate:
    """What a shard of the toy run returns: sum over tasks of (theta + pull) / 3.

    Pulls differ in size by powers of three: the order of a sum shows in its bits.
    """
    total = np.zeros_like(theta)
    losses = []
    for task in shard.tasks:
        angles = np.arange(theta.size, dtype=np.float32) * np.float32(task.seed)
        pull = np.sin(angles) * np.float32(3 ** (task.seed % 7))
        adapted = (theta + pull) / np.float32(3)
        total = total + adapted
        losses.append(np.abs(adapted).max())
    per_task: ParamTree = {"support_loss": np.array(losses, dtype=np.float32)}
    return ShardUpdate(shard.index, len(shard.tasks), {"w": total}, per_task)


def toy_step(theta: Vector, updates: tuple[ShardUpdate, ...]) -> Vector:
    """The next theta: theta + 0.7 (mean over all tasks - theta), in shard order."""
    total, count = np.zeros_like(theta), 0
    for update in updates:
        total = total + update.total["w"]
        count += update.count
    return theta + np.float32(0.7) * (total / np.float32(count) - theta)


def serial_result(rounds: int, size: int = TOY_SIZE) -> Vector:
    """Theta after so many rounds of the toy run in one process."""
    theta = np.ones(size, dtype=np.float32)
    for index in range(rounds):
        shards = toy_shards(index)
        theta = toy_step(theta, tuple(toy_update(theta, shard) for shard in shards))
    return theta


# --- the simulation -------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Faults:
    """What goes wrong, and how often.

    Attributes:
        delay_s: Mean of the exponential delay of a message; reorders them, too.
        duplicate: Chance that a message is delivered twice.
        lie: Chance that an update comes back spoiled.
        exaggerate: Chance that an update comes back a million times as large, once the
            coordinator has seen enough to tell.
        fail: Chance that a worker cannot compute a shard.
        drops: Connections that break, at random times.
        crashes: Workers that die in the middle of something, and are started again.
        freezes: Workers that stand still for a while.
        restarts: Times that the coordinator dies and starts again.
        horizon_s: All these times lie before this one.
    """

    delay_s: float = 0.05
    duplicate: float = 0.1
    lie: float = 0.1
    exaggerate: float = 0.0
    fail: float = 0.05
    drops: int = 4
    crashes: int = 3
    freezes: int = 2
    restarts: int = 1
    horizon_s: float = 20.0


@dataclass(slots=True)
class _Line:
    """One connection, alive until either end goes."""

    worker_id: WorkerId
    alive: bool = True


@dataclass(slots=True)
class _Process:
    """One worker process."""

    name: str
    incarnation: str
    state: WorkerState
    alive: bool = True
    frozen_until: float = 0.0
    line: _Line | None = None
    dialled: int = 0
    """Counts dials, so that an answer to an old one is not taken for the newest's."""
    thetas: dict[int, Vector] = field(default_factory=dict)
    jobs: deque[tuple[Lease, Vector]] = field(default_factory=deque)
    cancelled: set[Any] = field(default_factory=set)
    busy: bool = False


class Simulation:
    """One schedule.

    Args:
        seed: Decides everything that is random.
        workers: Worker processes.
        rounds: Rounds of the toy run.
        faults: What goes wrong.
        policy: The coordinator's. Shards fail often here: let it be patient.
    """

    def __init__(
        self,
        seed: int,
        *,
        workers: int = 3,
        rounds: int = 6,
        faults: Faults | None = None,
        policy: Policy | None = None,
    ) -> None:
        self.seed = seed
        self.faults = faults or Faults()
        self.policy = policy or Policy(lease_s=8.0, max_attempts=10_000)
        self.announced: list[str] = []
        self._rng = np.random.default_rng(seed)
        self._agenda: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self._ids = itertools.count(1)
        self._now = 0.0
        self._rounds = rounds
        self._done = 0  # rounds completed: with theta, the coordinator's checkpoint
        self._theta: Vector = np.ones(TOY_SIZE, dtype=np.float32)
        self._finished = False
        self._sessions = 0
        self._seen = 0
        self._lines: dict[WorkerId, tuple[_Line, _Process]] = {}
        self._processes = [self._new_process(f"w{index}") for index in range(workers)]

    def run(self, most_events: int = 200_000) -> Vector:
        """Run to the end of training; theta.

        Raises:
            AssertionError: If an invariant breaks, or it does not come to an end.
        """
        self._start_coordinator()
        for process in self._processes:
            self._to_worker(process, Started())
        self._plan_faults()
        for _ in range(most_events):
            if self._finished:
                return self._theta
            self._now, _, action = heapq.heappop(self._agenda)
            action()
        wait = self._coordinator.status(self._now).wait
        raise AssertionError(f"seed {self.seed} did not end: {wait}")

    # --- time and chance --------------------------------------------------------------

    def _after(self, delay_s: float, action: Callable[[], None]) -> None:
        entry = (self._now + delay_s, next(self._order), action)
        heapq.heappush(self._agenda, entry)

    def _chance(self, probability: float) -> bool:
        return bool(self._rng.random() < probability)

    def _plan_faults(self) -> None:
        faults = self.faults
        plan: list[tuple[int, Callable[[_Process], None]]] = [
            (faults.drops, self._drop),
            (faults.crashes, self._crash),
            (faults.freezes, self._freeze),
            (faults.restarts, lambda _: self._start_coordinator()),
        ]
        for count, fault in plan:
            for _ in range(count):
                at = float(self._rng.uniform(0.0, faults.horizon_s))
                slot = int(self._rng.integers(len(self._processes)))
                # Whoever has the slot by then is the victim.
                self._after(at, lambda f=fault, s=slot: f(self._processes[s]))  # type: ignore[misc]

    # --- faults -----------------------------------------------------------------------

    def _drop(self, process: _Process) -> None:
        if process.line is not None:
            self._break(process.line, "connection dropped")

    def _break(self, line: _Line, reason: str) -> None:
        """The line is dead at once; both ends learn of it later."""
        if not line.alive:
            return
        line.alive = False
        _, process = self._lines[line.worker_id]
        left = WorkerLeft(line.worker_id, reason)
        state = self._coordinator
        self._after(self._delay(), lambda: self._to_coordinator(left, state))
        self._after(self._delay(), lambda: self._lost(process, line, reason))

    def _lost(self, process: _Process, line: _Line, reason: str) -> None:
        if process.line is line:
            process.line = None
            jitter = float(self._rng.random())
            self._to_worker(process, StreamLost(reason, jitter))

    def _crash(self, process: _Process) -> None:
        process.alive = False
        if process.line is not None:
            self._break(process.line, "process died")
        slot = self._processes.index(process)
        fresh = self._new_process(process.name)
        self._processes[slot] = fresh
        self._after(
            float(self._rng.uniform(0.1, 5.0)),
            lambda: self._to_worker(fresh, Started()),
        )

    def _freeze(self, process: _Process) -> None:
        process.frozen_until = self._now + float(self._rng.uniform(1.0, 15.0))

    # --- the coordinator --------------------------------------------------------------

    def _start_coordinator(self) -> None:
        """Start it, or kill it and start it again from what it had completed."""
        self._sessions += 1
        self._seen = 0  # updates that counted in this session
        self._coordinator = CoordinatorState(f"session{self._sessions}", self.policy)
        for line, _ in list(self._lines.values()):
            self._break(line, "the coordinator died")
        self._open_round()

    def _open_round(self) -> None:
        shards = toy_shards(self._done)
        meta = {"w": self._theta}
        self._to_coordinator(RoundOpened(self._done, shards, meta), self._coordinator)

    def _to_coordinator(self, event: CoordinatorEvent, state: CoordinatorState) -> None:
        """Deliver an event to the coordinator that it was meant for, if it lives."""
        if state is not self._coordinator or self._finished:
            return
        commands = state.handle(event, self._now)
        state.check_invariants()
        wakeup = state.next_wakeup()
        if wakeup is not None:
            self._after(max(0.0, wakeup - self._now), lambda: self._wake(state, wakeup))
        for command in commands:
            self._obey(command)

    def _wake(self, state: CoordinatorState, at: float) -> None:
        if state.next_wakeup() == at:
            self._to_coordinator(TimePassed(), state)

    def _obey(self, command: CoordinatorCommand) -> None:
        match command:
            case SendTheta(worker, version):
                event, theta = ThetaReceived(version), self._theta
                self._down(worker, event, lambda p: p.thetas.update({version: theta}))
            case GrantLease(worker, lease):
                self._down(worker, LeaseGranted(lease))
            case RevokeLease(worker, key, reason):
                self._down(worker, LeaseRevoked(key, reason))
            case DismissWorker(worker, reason, run_over):
                if run_over:
                    self._down(worker, RunOver(reason, float(self._rng.random())))
                else:
                    self._break(self._lines[worker][0], reason)
            case CompleteRound(_, updates):
                self._theta = toy_step(self._theta, updates)
                self._done += 1
                self._seen += len(updates)
                if self._done < self._rounds:
                    self._open_round()
                else:
                    self._to_coordinator(RunEnded("all rounds done"), self._coordinator)
                    self._finished = True
            case FailRound(_, story):
                raise AssertionError(f"seed {self.seed}: {story}")
            case Announce(_, text):
                self.announced.append(f"{self._now:8.3f} {text}")

    # --- the network ------------------------------------------------------------------

    def _delay(self) -> float:
        return float(self._rng.exponential(self.faults.delay_s))

    def _send(self, line: _Line, deliver: Callable[[], None]) -> None:
        """Deliver once or twice, whenever; nothing gets through a dead line."""
        for _ in range(2 if self._chance(self.faults.duplicate) else 1):
            self._after(self._delay(), lambda: deliver() if line.alive else None)

    def _down(
        self,
        worker_id: WorkerId,
        event: WorkerEvent,
        bring: Callable[[_Process], None] | None = None,
    ) -> None:
        line, process = self._lines[worker_id]

        def deliver() -> None:
            if bring is not None:
                bring(process)
            self._to_worker(process, event, line)

        self._send(line, deliver)

    def _up(
        self, process: _Process, event: Callable[[WorkerId], CoordinatorEvent]
    ) -> None:
        line = process.line
        if line is None:
            return
        state = self._coordinator
        self._send(line, lambda: self._to_coordinator(event(line.worker_id), state))

    # --- workers ----------------------------------------------------------------------

    def _new_process(self, name: str) -> _Process:
        incarnation = f"{name}-{next(self._ids)}"
        return _Process(name, incarnation, WorkerState(WorkerPolicy()))

    def _to_worker(
        self, process: _Process, event: WorkerEvent, line: _Line | None = None
    ) -> None:
        """Deliver an event, once it can be taken in.

        Args:
            process: To whom.
            event: What happened.
            line: The connection that it came by, if any; nothing comes by an old one.
        """
        if not process.alive or (line is not None and process.line is not line):
            return
        if self._now < process.frozen_until:
            again = process.frozen_until - self._now
            self._after(again, lambda: self._to_worker(process, event, line))
            return
        commands = process.state.handle(event, self._now)
        process.state.check_invariants()
        wakeup = process.state.next_wakeup()
        if wakeup is not None:
            self._after(
                max(0.0, wakeup - self._now), lambda: self._wake_worker(process, wakeup)
            )
        for command in commands:
            self._obey_worker(process, command)

    def _wake_worker(self, process: _Process, at: float) -> None:
        if process.state.next_wakeup() == at:
            self._to_worker(process, TimePassed())

    def _obey_worker(self, process: _Process, command: WorkerCommand) -> None:
        match command:
            case DialCoordinator(delay_s):
                process.dialled += 1
                dial = process.dialled
                self._after(delay_s, lambda: self._dial(process, dial))
            case ComputeShard(lease):
                process.jobs.append((lease, process.thetas[lease.version]))
                self._compute(process)
            case CancelShard(key):
                process.cancelled.add(key)
            case SendHeartbeat(progress):
                self._up(process, lambda worker: HeartbeatReceived(worker, progress))
            case SendUpdate(key, version, update):
                spoiled = self._as_sent(update)
                self._up(
                    process,
                    lambda worker: UpdateReceived(worker, key, version, spoiled),
                )
            case ReturnLease(key, failed, reason):
                self._up(process, lambda w: LeaseReturned(w, key, failed, reason))
            case SendDraining():
                self._up(process, WorkerDraining)
            case Stop():
                process.alive = False
            case Announce():
                pass

    def _dial(self, process: _Process, dial: int) -> None:
        if not process.alive or process.dialled != dial:
            return
        line = _Line(WorkerId(f"id{next(self._ids)}"))
        self._lines[line.worker_id] = (line, process)
        process.line = line
        state = self._coordinator
        session = f"session{self._sessions}"
        joined = WorkerJoined(
            line.worker_id, process.name, process.incarnation, slots=1 + dial % 2
        )
        self._to_worker(process, CoordinatorJoined(session, heartbeat_s=1.0), line)
        # The first message of a stream is delivered once, before any other.
        self._after(
            0.0, lambda: self._to_coordinator(joined, state) if line.alive else None
        )

    def _compute(self, process: _Process) -> None:
        if process.busy or not process.jobs:
            return
        process.busy = True
        duration = float(self._rng.exponential(0.7))
        self._after(duration, lambda: self._computed(process))

    def _computed(self, process: _Process) -> None:
        if not process.alive:
            return
        if self._now < process.frozen_until:
            again = process.frozen_until - self._now
            self._after(again, lambda: self._computed(process))
            return
        process.busy = False
        lease, theta = process.jobs.popleft()
        if lease.key in process.cancelled:
            self._to_worker(process, ShardCancelled(lease.key))
        elif self._chance(self.faults.fail):
            self._to_worker(process, ShardFailed(lease.key, "out of luck"))
        else:
            update = toy_update(theta, lease.shard)
            self._to_worker(process, ShardComputed(lease.key, update))
        self._compute(process)

    def _as_sent(self, update: ShardUpdate) -> ShardUpdate:
        """The update, or what a worker makes of it that lies."""
        if self._chance(self.faults.lie):
            return self._spoil(update)
        # No draw where it cannot happen: schedules of other faults stay what they were.
        if self.faults.exaggerate and self._chance(self.faults.exaggerate):
            return self._exaggerate(update)
        return update

    def _exaggerate(self, update: ShardUpdate) -> ShardUpdate:
        """Finite nonsense, no two alike."""
        if self._seen < LEAST_NORMS:
            return update
        factor = np.float32(self._rng.uniform(1e6, 1e7))
        return replace(update, total={"w": update.total["w"] * factor})

    def _spoil(self, update: ShardUpdate) -> ShardUpdate:
        """The update with something wrong that the gate can see."""
        total = dict(update.total)
        count = update.count
        match int(self._rng.integers(4)):
            case 0:
                total["w"] = np.where(
                    np.arange(TOY_SIZE) == 2, np.float32("nan"), total["w"]
                )
            case 1:
                total["w"] = total["w"][:-1]
            case 2:
                total["w"] = total["w"].astype(np.float64)
            case _:
                count += 1
        return ShardUpdate(update.index, count, total, update.per_task)
