"""Lines between workers and the coordinator: they delay, repeat, reorder and break."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mlpeft.cluster.coordinator.messages import (
    MessageReceived,
    WorkerJoined,
    WorkerLeft,
)
from mlpeft.cluster.protocol import WorkerId
from mlpeft.cluster.worker.messages import CoordinatorJoined, StreamLost

if TYPE_CHECKING:
    from collections.abc import Callable

    from mlpeft.cluster.protocol import Instruction, Report
    from mlpeft.cluster.sim.coordinator import Head
    from mlpeft.cluster.sim.event_queue import EventQueue
    from mlpeft.cluster.sim.fault_injector import FaultInjector
    from mlpeft.cluster.sim.worker import Process


@dataclass(slots=True)
class Line:
    """One connection, alive until either end goes.

    Attributes:
        worker_id: What the coordinator calls it.
        process: The worker's end.
        alive: Whether anything gets through.
        delivered_at: When the last message that is under way arrives.
    """

    worker_id: WorkerId
    process: Process
    alive: bool = True
    delivered_at: float = 0.0


class Network:
    """All lines.

    Args:
        agenda: Virtual time.
        chance: How long messages are under way, and which come twice.
        head: The coordinator's end.
    """

    def __init__(self, agenda: EventQueue, chance: FaultInjector, head: Head) -> None:
        self._agenda = agenda
        self._chance = chance
        self._head = head
        self._ids = itertools.count(1)
        self._lines: dict[WorkerId, Line] = {}

    def dial(self, process: Process, slots: int) -> None:
        """Connect a process to the coordinator that is up now."""
        line = Line(WorkerId(f"id{next(self._ids)}"), process)
        self._lines[line.worker_id] = line
        process.line = line
        process.take(CoordinatorJoined(self._head.session, heartbeat_s=1.0), line)
        joined = WorkerJoined(
            line.worker_id,
            process.name,
            process.process_id,
            identity=process.identity,
            slots=slots,
        )
        state = self._head.state
        # The first message of a stream is delivered once, before any other.
        self._agenda.after(
            0.0, lambda: self._head.take(joined, state) if line.alive else None
        )

    def up(self, line: Line, message: Report) -> None:
        """Send to the coordinator."""
        event, state = MessageReceived(line.worker_id, message), self._head.state
        self._send(line, lambda: self._head.take(event, state))

    def down(self, worker_id: WorkerId, message: Instruction) -> None:
        """Send to a worker, by this line."""
        line = self._lines[worker_id]
        self._send(line, lambda: line.process.take(message, line))

    def _send(self, line: Line, deliver: Callable[[], None]) -> None:
        """Deliver once or twice, whenever; nothing gets through a dead line."""
        twice = self._chance.happens(self._chance.faults.duplicate)
        for _ in range(2 if twice else 1):
            delay_s = self._chance.delay_s()
            arrives = self._agenda.now + delay_s
            line.delivered_at = max(line.delivered_at, arrives)
            self._agenda.after(delay_s, lambda: deliver() if line.alive else None)

    def break_line(self, line: Line, reason: str) -> None:
        """The line is dead at once; both ends learn of it later."""
        if not line.alive:
            return
        line.alive = False
        left, state = WorkerLeft(line.worker_id, reason), self._head.state
        self._agenda.after(self._chance.delay_s(), lambda: self._head.take(left, state))
        self._agenda.after(self._chance.delay_s(), lambda: self._lost(line, reason))

    def break_by_id(self, worker_id: WorkerId, reason: str) -> None:
        """As `break_line`."""
        self.break_line(self._lines[worker_id], reason)

    def break_all(self, reason: str) -> None:
        """The coordinator is gone."""
        for line in list(self._lines.values()):
            self.break_line(line, reason)

    def finish(self, line: Line) -> None:
        """A worker leaves in order: what is under way arrives, then the line ends."""
        left_s = max(0.0, line.delivered_at - self._agenda.now)
        self._agenda.after(left_s, lambda: self.break_line(line, "it ended"))

    def _lost(self, line: Line, reason: str) -> None:
        if line.process.line is line:
            line.process.line = None
            line.process.take(StreamLost(reason, self._chance.jitter()))
