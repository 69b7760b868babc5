"""Lines between workers and the coordinator: they delay, repeat, reorder and break."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mlpeft.cluster.coordinator.messages import (
    MessageReceived,
    ThetaMoved,
    UpdateMoved,
    WorkerJoined,
    WorkerLeft,
)
from mlpeft.cluster.protocol import Theta, Update, WorkerId
from mlpeft.cluster.worker.messages import CoordinatorJoined, StreamLost

if TYPE_CHECKING:
    from collections.abc import Callable

    from mlpeft.cluster.coordinator.messages import CoordinatorEvent
    from mlpeft.cluster.protocol import Instruction, Report
    from mlpeft.cluster.sim.coordinator import Head
    from mlpeft.cluster.sim.event_queue import EventQueue
    from mlpeft.cluster.sim.fault_injector import FaultInjector
    from mlpeft.cluster.sim.worker import Process


REPORT_S = 0.25
"""Seconds between two reports of how far a transfer is."""


@dataclass(slots=True)
class Line:
    """One connection, alive until either end goes.

    Attributes:
        worker_id: What the coordinator calls it.
        process: The worker's end.
        alive: Whether anything gets through.
        delivered_at: When the last message that is under way arrives.
        theta: Version of theta that was sent last; it replaces one on its way.
        up_free_at: When the updates on their way have arrived.
    """

    worker_id: WorkerId
    process: Process
    alive: bool = True
    delivered_at: float = 0.0
    theta: int = -1
    up_free_at: float = 0.0


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
            device=process.device,
        )
        state = self._head.state
        # The first message of a stream is delivered once, before any other.
        self._agenda.after(
            0.0, lambda: self._head.take(joined, state) if line.alive else None
        )

    def up(self, line: Line, message: Report) -> None:
        """Send to the coordinator."""
        event, state = MessageReceived(line.worker_id, message), self._head.state

        def deliver() -> None:
            self._head.take(event, state)

        if isinstance(message, Update) and self._carry_s:
            starts = max(line.up_free_at, self._agenda.now)
            line.up_free_at = starts + self._carry_s
            self._carry(
                line,
                lambda done, total: UpdateMoved(
                    line.worker_id, message.key, done, total
                ),
                deliver,
                starts=starts,
                wanted=lambda: True,
            )
        else:
            self._send(line, deliver)

    def down(self, worker_id: WorkerId, message: Instruction) -> None:
        """Send to a worker, by this line."""
        line = self._lines[worker_id]

        def deliver() -> None:
            line.process.take(message, line)

        if isinstance(message, Theta) and self._carry_s:
            version = line.theta = message.version
            self._carry(
                line,
                lambda done, total: ThetaMoved(worker_id, version, done, total),
                deliver,
                starts=self._agenda.now,
                wanted=lambda: line.theta == version,
            )
        else:
            self._send(line, deliver)

    @property
    def _carry_s(self) -> float:
        """Seconds that theta or an update takes; 0: no more than any message."""
        faults = self._chance.faults
        return (
            0.0
            if math.isinf(faults.bytes_per_s)
            else faults.payload_bytes / faults.bytes_per_s
        )

    def _carry(
        self,
        line: Line,
        report: Callable[[int, int], CoordinatorEvent],
        deliver: Callable[[], None],
        *,
        starts: float,
        wanted: Callable[[], bool],
    ) -> None:
        """Carry bulk data over a line, while messages overtake it.

        Args:
            line: Which.
            report: What the coordinator hears of it, by bytes done and bytes in all.
            deliver: What follows at its end.
            starts: When the line is free for it.
            wanted: Whether it goes on.
        """
        ends, state = starts + self._carry_s, self._head.state
        total = self._chance.faults.payload_bytes
        line.delivered_at = max(line.delivered_at, ends)

        def move() -> None:
            now = self._agenda.now
            if not line.alive or not wanted():
                return
            done = (
                total if now >= ends else int(total * (now - starts) / (ends - starts))
            )
            if now >= line.process.frozen_until and line.process.alive:
                self._head.take(report(done, total), state)
            if now >= ends:
                deliver()
            else:
                self._agenda.after(min(REPORT_S, ends - now), move)

        self._agenda.after(max(0.0, starts - self._agenda.now), move)

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
