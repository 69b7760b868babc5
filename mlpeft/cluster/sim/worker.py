"""A simulated worker process: the real state machine, and a computing thread."""

from __future__ import annotations

from collections import deque
from dataclasses import replace
from typing import TYPE_CHECKING, assert_never

from mlpeft.cluster.messages import Announce, TimePassed
from mlpeft.cluster.protocol import Theta, Update
from mlpeft.cluster.worker.machine import WorkerMachine, WorkerPolicy
from mlpeft.cluster.worker.messages import (
    CancelShard,
    ComputeShard,
    DialCoordinator,
    ProgressMade,
    Send,
    ShardCancelled,
    ShardComputed,
    ShardFailed,
    Stop,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from mlpeft.cluster.protocol import Lease, LeaseKey, Report
    from mlpeft.cluster.sim.event_queue import EventQueue
    from mlpeft.cluster.sim.fault_injector import FaultInjector
    from mlpeft.cluster.sim.network import Line, Network
    from mlpeft.cluster.sim.toy import Work
    from mlpeft.cluster.worker.messages import WorkerCommand, WorkerEvent
    from mlpeft.params import ParamTree


class Process:
    """One worker process.

    Args:
        name: What people call it; the next process in its place has the same.
        process_id: Unlike that of any other.
        identity: Whom the coordinator sees behind it.
        device: What it says that it computes on.
        agenda: Virtual time.
        chance: How long tasks take, and what fails.
        network: The way to the coordinator.
        work: What it computes.
        took_s: Takes note of how long a shard took, by round and index.
        liar: Whether all its updates are spoiled.
        straggler: Whether all its tasks take ten times as long.
        can_tell: Says whether the coordinator would know an outlier by now.
        ended: Called when it ends in order.
    """

    def __init__(
        self,
        name: str,
        process_id: str,
        identity: str,
        device: str,
        agenda: EventQueue,
        chance: FaultInjector,
        network: Network,
        work: Work,
        took_s: dict[tuple[int, int], float],
        *,
        liar: bool,
        straggler: bool,
        can_tell: Callable[[], bool],
        ended: Callable[[Process], None],
    ) -> None:
        self.name = name
        self.process_id = process_id
        self.identity = identity
        self.device = device
        self.alive = True
        self.line: Line | None = None
        self.frozen_until = 0.0
        self.hung_until = 0.0
        self._work = work
        self._took_s = took_s
        self._thetas: dict[int, ParamTree] = {}
        self._agenda = agenda
        self._chance = chance
        self._network = network
        self._liar = liar
        self._straggler = straggler
        self._can_tell = can_tell
        self._ended = ended
        self._state = WorkerMachine(WorkerPolicy())
        self._wakeup: float | None = None  # the newest that is on the agenda
        # Counts dials, so that an answer to an old one is not taken for the newest's.
        self._dialled = 0
        self._jobs: deque[tuple[Lease, ParamTree]] = deque()
        self._cancelled: set[LeaseKey] = set()
        self._busy = False
        self._spent_s = 0.0  # on the shard in hand

    # --- events in, commands out ------------------------------------------------------

    def take(self, event: WorkerEvent, line: Line | None = None) -> None:
        """Take in an event as soon as it can be taken in.

        Args:
            event: What happened.
            line: The connection that it came by, if any; nothing comes by an old one.
        """
        if not self.alive or (line is not None and self.line is not line):
            return
        now = self._agenda.now
        if now < self.frozen_until:
            self._agenda.after(self.frozen_until - now, lambda: self.take(event, line))
            return
        if isinstance(event, Theta):
            self._thetas[event.version] = event.meta
        commands = self._state.handle(event, now)
        self._state.check_invariants()
        wakeup = self._state.next_wakeup()
        if wakeup is not None and wakeup != self._wakeup:
            self._wakeup = wakeup
            self._agenda.after(max(0.0, wakeup - now), lambda: self._wake(wakeup))
        for command in commands:
            self._obey(command)

    def _wake(self, at: float) -> None:
        if self._wakeup == at:
            self._wakeup = None
        if self._state.next_wakeup() == at:
            self.take(TimePassed())

    def _obey(self, command: WorkerCommand) -> None:
        match command:
            case DialCoordinator(delay_s):
                self._dialled += 1
                dial = self._dialled
                self._agenda.after(delay_s, lambda: self._dial(dial))
            case ComputeShard(lease):
                self._jobs.append((lease, self._thetas[lease.version]))
                self._begin()
            case CancelShard(key):
                self._cancelled.add(key)
            case Send(message):
                self._up(message)
            case Stop():
                self.alive = False
                if self.line is not None:
                    self._network.finish(self.line)
                self._ended(self)
            case Announce():
                pass
            case _:
                assert_never(command)

    def _up(self, message: Report) -> None:
        if isinstance(message, Update) and message.update is not None:
            sent = self._chance.as_sent(
                message.update, liar=self._liar, can_tell=self._can_tell()
            )
            message = replace(message, update=sent)
        if self.line is not None:
            self._network.up(self.line, message)

    def _dial(self, dial: int) -> None:
        if self.alive and self._dialled == dial:
            self._network.dial(self, slots=1 + dial % 2)

    # --- the computing thread ---------------------------------------------------------

    def _begin(self) -> None:
        """Compute the next shard, if the thread is free."""
        if not self._busy and self._jobs:
            self._busy = True
            self._compute(tasks_done=0)

    def _compute(self, tasks_done: int) -> None:
        """The next task, or the shard's end."""
        if not self.alive:
            return
        now, stands = self._agenda.now, max(self.frozen_until, self.hung_until)
        if now < stands:
            self._agenda.after(stands - now, lambda: self._compute(tasks_done))
            return
        lease, theta = self._jobs[0]
        if lease.key in self._cancelled:
            self._finish(ShardCancelled(lease.key))
        elif tasks_done < len(lease.shard.tasks):
            self.take(ProgressMade(lease.key, tasks_done))
            task_s = self._chance.task_s(straggler=self._straggler)
            self._spent_s = task_s + (self._spent_s if tasks_done else 0.0)
            self._agenda.after(task_s, lambda: self._compute(tasks_done + 1))
        elif self._chance.happens(self._chance.faults.fail):
            self._finish(ShardFailed(lease.key, "out of luck"))
        else:
            place = lease.shard.round, lease.shard.index
            self._took_s.setdefault(place, self._spent_s)
            update = self._work.update(theta, lease.shard)
            self._finish(ShardComputed(lease.key, update))

    def _finish(self, event: WorkerEvent) -> None:
        self._jobs.popleft()
        self._busy = False
        self.take(event)
        self._begin()
