"""What does an event cost the coordinator's machine, by the number of workers?

The state machine alone, without IO, driven as its drivers do: after each event they ask
for the next wakeup. Workers send a heartbeat each second of virtual time, half of them
compute shards, and the clock wakes the machine when it asks for it. Two figures:

- heartbeats: each of them from another worker, in the middle of a round.
- shards: an update and the lease that follows it, in rounds of as many shards as there
  are workers, with a heartbeat between two of them.
"""

from __future__ import annotations

import time
from collections import deque
from typing import TYPE_CHECKING, Any

import numpy as np

from mlpeft.cluster.coordinator import messages as cm
from mlpeft.cluster.coordinator.machine import CoordinatorMachine
from mlpeft.cluster.messages import TimePassed
from mlpeft.cluster.policy import Policy
from mlpeft.cluster.protocol import Heartbeat, Lease, Update, WorkerId
from mlpeft.config import ClusterSection
from mlpeft.work import Displacement, Kind, Shard, ShardUpdate, TaskSpec

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mlpeft.cluster.coordinator.messages import CoordinatorEvent
    from mlpeft.cluster.protocol import LeaseKey

WORKERS = (50, 1_000, 10_000, 50_000)
MOST_S = 10.0
"""Seconds after which a measurement ends, however few its events are."""
BATCH = 64
"""Events between two looks at the clock."""


class Drive:
    """A machine with so many workers, and a round of as many shards.

    Args:
        workers: How many; half of them have a shard.
    """

    def __init__(self, workers: int) -> None:
        policy = Policy.from_config(
            ClusterSection(),
            displacement=Displacement.FROM_THETA,
            ordered_sum=True,
        )
        self.machine = CoordinatorMachine("s", policy)
        self.now = 0.0
        self.events = 0
        self.leased: deque[tuple[WorkerId, LeaseKey]] = deque()
        self._workers = [WorkerId(f"w{index}") for index in range(workers)]
        self._theta = {"w": np.ones(8, dtype=np.float32)}
        self._version = 0
        for index, worker in enumerate(self._workers):
            self.send(cm.WorkerJoined(worker, f"w{index}", f"p{index}", f"i{index}", 1))
        self.open()

    def open(self) -> None:
        """Open a round with a shard for every second worker."""
        shards = tuple(
            Shard(self._version, index, Kind.TRAIN, (TaskSpec("toy", index),))
            for index in range(max(1, len(self._workers) // 2))
        )
        self.send(cm.RoundOpened(self._version, shards, self._theta))
        self._version += 1

    def send(self, event: CoordinatorEvent) -> None:
        """One event, and what a driver does after it."""
        commands = self.machine.handle(event, self.now)
        self.events += 1
        done = False
        for command in commands:
            if isinstance(command, cm.Send) and isinstance(command.message, Lease):
                self.leased.append((command.worker, command.message.key))
            done |= isinstance(command, cm.CompleteRound)
        wakeup = self.machine.next_wakeup()
        if wakeup is not None and wakeup <= self.now:
            self.send(TimePassed())
        if done:
            self.leased.clear()
            self.open()

    def heartbeats(self) -> Iterator[None]:
        """One heartbeat after the other, each worker once in a second."""
        while True:
            for worker in self._workers:
                self.now += 1 / len(self._workers)
                self.send(cm.MessageReceived(worker, Heartbeat()))
                yield

    def shards(self) -> Iterator[None]:
        """An update, and a heartbeat of another worker."""
        heartbeats = self.heartbeats()
        loss = {"support_loss": np.zeros(1, dtype=np.float32)}
        while True:
            worker, key = self.leased.popleft()
            update = ShardUpdate(key.shard, 1, self._theta, loss)
            self.send(
                cm.MessageReceived(worker, Update(key, self._version - 1, update))
            )
            next(heartbeats)
            yield


def rate(drive: Drive, steps: Iterator[None], seconds: float) -> float:
    """Events per second."""
    first, start = drive.events, time.perf_counter()
    while (took_s := time.perf_counter() - start) < seconds:
        for _ in range(BATCH):
            next(steps)
            if time.perf_counter() - start > MOST_S:
                break
    return (drive.events - first) / took_s


def measure(workers: int, seconds: float = 2.0) -> dict[str, Any]:
    """Events per second of both kinds."""
    row: dict[str, Any] = {"workers": workers}
    drive = Drive(workers)
    row["heartbeats/s"] = rate(drive, drive.heartbeats(), seconds)
    row["shard events/s"] = rate(drive, drive.shards(), seconds)
    return row
