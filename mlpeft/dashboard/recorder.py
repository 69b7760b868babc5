"""Watches the coordinator's machine from within its process: shards, joins, leaves.

It runs on the coordinator's event loop for every event, whether somebody looks or not,
so it must be cheap: most events are heartbeats, which it drops by their type.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from mlpeft.cluster.coordinator import messages as cm
from mlpeft.cluster.messages import Announce, Level
from mlpeft.cluster.protocol import Lease, LeaseReturn, LeaseRevocation, Update
from mlpeft.dashboard.timeline import Timeline

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from mlpeft.cluster.protocol import WorkerId
    from mlpeft.dashboard.timeline import Outcome

MOST_DEPARTURES: Final = 200


@dataclass(frozen=True, slots=True)
class Departure:
    """A worker that is no longer connected.

    Attributes:
        worker: Its connection.
        name: Its name.
        device: What it computed on.
        time: Unix time.
        reason: Why it left, in the coordinator's words.
        done: Its updates that counted; None: not known.
    """

    worker: WorkerId
    name: str
    device: str
    time: float
    reason: str
    done: int | None = None


class Recorder:
    """An observer of the coordinator's driver.

    Args:
        clock: Unix time in seconds.

    Attributes:
        timeline: Read and changed under `lock` only.
        departures: Likewise; the newest last.
    """

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self.lock = threading.Lock()
        self.timeline = Timeline()
        self.departures: deque[Departure] = deque(maxlen=MOST_DEPARTURES)
        self._clock = clock
        self._joined: dict[WorkerId, _Joined] = {}
        self._receiving: set[WorkerId] = set()  # theta is on its way to them

    def __call__(
        self, event: cm.CoordinatorEvent, commands: Sequence[cm.CoordinatorCommand]
    ) -> None:
        """Take in an event and what the machine answered."""
        if isinstance(event, cm.MessageReceived):
            ends = isinstance(event.message, Update | LeaseReturn)
        else:
            ends = isinstance(event, _OF_INTEREST)
        if not ends and not commands:
            return
        with self.lock:
            now = self._clock()
            if isinstance(event, cm.MessageReceived):
                self._received(event, commands, now)
            elif ends:
                self._take(event, now)
            for command in commands:
                if isinstance(command, cm.Send):
                    self._sent(command, now)

    def _received(
        self,
        event: cm.MessageReceived,
        commands: Sequence[cm.CoordinatorCommand],
        now: float,
    ) -> None:
        """A shard ended; a warning about it says that it did not count."""
        message = event.message
        if isinstance(message, LeaseReturn):
            outcome: Outcome = "failed" if message.failed else "returned"
            self.timeline.end(message.key, now, outcome)
        elif isinstance(message, Update):
            refused = any(
                isinstance(command, Announce)
                and command.key == message.key
                and command.level != Level.INFO
                for command in commands
            )
            self.timeline.end(message.key, now, "refused" if refused else "in")
            if not refused and event.worker in self._joined:
                self._joined[event.worker].done += 1

    def _take(self, event: cm.CoordinatorEvent, now: float) -> None:
        match event:
            case cm.WorkerJoined(worker, name, device=device):
                self._joined[worker] = _Joined(name, device)
            case cm.WorkerLeft(worker, reason):
                self._leave(worker, reason, now)
            case cm.ThetaMoved(worker, _, done, total):
                if done < total:
                    self._receiving.add(worker)
                    return
                self._receiving.discard(worker)
                self.timeline.computes(worker, now)
            case cm.UpdateMoved(_, key) | cm.UploadHeld(_, key):
                if key is not None:
                    self.timeline.sends(key, now)
            case cm.RoundAbandoned():
                self.timeline.end_all(now, "revoked")

    def _sent(self, command: cm.Send, now: float) -> None:
        match command.message:
            case Lease(key):
                theta = command.worker in self._receiving
                self.timeline.begin(command.worker, key, now, theta=theta)
            case LeaseRevocation(key):
                self.timeline.end(key, now, "revoked")

    def _leave(self, worker: WorkerId, reason: str, now: float) -> None:
        self._receiving.discard(worker)
        self.timeline.end_all(now, "lost", worker)
        gone = self._joined.pop(worker, _Joined(str(worker), ""))
        departure = Departure(worker, gone.name, gone.device, now, reason, gone.done)
        self.departures.append(departure)


@dataclass(slots=True)
class _Joined:
    """A connected worker, and its updates that counted."""

    name: str
    device: str
    done: int = 0


_OF_INTEREST: Final = (
    cm.WorkerJoined
    | cm.WorkerLeft
    | cm.ThetaMoved
    | cm.UpdateMoved
    | cm.UploadHeld
    | cm.RoundAbandoned
)
