"""Applies a schedule to the processes of a training and the network between them."""

from __future__ import annotations

import heapq
import itertools
import signal
import sys
from collections import Counter
from typing import TYPE_CHECKING, Final

from mlpeft.runtime.chaos.schedule import Fault

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from mlpeft.runtime.chaos.processes import ChildProcess
    from mlpeft.runtime.chaos.schedule import Strike
    from mlpeft.runtime.chaos.training import Training

STOPPED_S: Final = 0.25
"""A slowed process stands still for so long,"""
RUNS_S: Final = 0.05
"""and runs for so long, again and again."""
AGAIN_S: Final = 0.5
"""Seconds until a part that is down is tried again,"""
WAITS_S: Final = 10.0
"""and after which it is let off."""
SMALL_FILE_BYTES: Final = 0
"""What a file of a coordinator with a full disk may grow to."""


def impossible() -> dict[Fault, str]:
    """The faults that this system cannot produce, and why."""
    if sys.platform == "linux":
        return {}
    return {
        Fault.FILL_DISK: "the limit of a running process's files can only be changed "
        "on Linux; tests/training/ tests full disks"
    }


class Striker:
    """Strikes what is to be struck, and mends it when its time is over.

    Args:
        training: What is struck.
        strikes: The schedule.

    Attributes:
        struck: How often, by kind. What is down is struck when it is up again, or not
            at all.
    """

    def __init__(self, training: Training, strikes: Iterable[Strike]) -> None:
        self.struck: Counter[Fault] = Counter()
        self._training = training
        self._actions: list[tuple[float, int, Callable[[float], object]]] = []
        self._order = itertools.count()
        self._down: set[int] = set()
        self._coordinator_down = False
        self._cuts = 0
        self._stopped: Counter[ChildProcess] = Counter()
        for strike in strikes:
            self._at(strike.at_s, lambda now, s=strike: self._strike(s, now))  # type: ignore[misc]

    def advance(self, now: float) -> None:
        """Do what is due, and look after the processes.

        Args:
            now: Seconds since the schedule began.
        """
        while self._actions and self._actions[0][0] <= now:
            _, _, action = heapq.heappop(self._actions)
            action(now)
        self._training.look(
            coordinator_may_end=self._coordinator_down, workers_may_end=self._down
        )

    @property
    def is_over(self) -> bool:
        """Whether every strike is done and mended."""
        return not self._actions

    def _at(self, at_s: float, action: Callable[[float], object]) -> None:
        heapq.heappush(self._actions, (at_s, next(self._order), action))

    # --- strikes ----------------------------------------------------------------------

    def _strike(self, strike: Strike, now: float) -> None:
        """Strike now, or a little later if there is nothing to strike yet."""
        if self._apply(strike, now + strike.lasts_s, now):
            self.struck[strike.fault] += 1
        elif now < strike.at_s + WAITS_S:
            self._at(now + AGAIN_S, lambda later: self._strike(strike, later))

    def _apply(  # noqa: PLR0911 - one match
        self, strike: Strike, until: float, now: float
    ) -> bool:
        """Strike, and plan how it is mended; whether there was anything to strike."""
        match strike.fault:
            case Fault.CUT_NETWORK:
                return self._cut(until)
            case Fault.KILL_COORDINATOR:
                return self._end_coordinator(signal.SIGKILL, until)
            case Fault.RESTART_COORDINATOR:
                return self._end_coordinator(signal.SIGTERM, until)
            case Fault.FREEZE_COORDINATOR:
                return self._freeze(self._training.coordinator, until)
            case Fault.FILL_DISK:
                return self._fill_disk(until)
            case Fault.KILL_WORKER:
                return self._end_worker(strike.worker, signal.SIGKILL, until)
            case Fault.RESTART_WORKER:
                return self._end_worker(strike.worker, signal.SIGTERM, until)
            case Fault.FREEZE_WORKER:
                return self._freeze(self._training.workers[strike.worker], until)
            case Fault.SLOW_WORKER:
                return self._slow(self._training.workers[strike.worker], until, now)

    def _cut(self, until: float) -> bool:
        self._cuts += 1
        self._training.proxy.cut()
        self._at(until, lambda _: self._mend_network())
        return True

    def _mend_network(self) -> None:
        self._cuts -= 1
        if not self._cuts:
            self._training.proxy.mend()

    def _end_coordinator(self, number: signal.Signals, until: float) -> bool:
        process = self._training.coordinator
        if self._coordinator_down or process.exit_code is not None:
            return False
        self._coordinator_down = True
        process.send(number)
        self._at(until, lambda now: self._again(process, now, self._coordinator_again))
        return True

    def _coordinator_again(self) -> None:
        self._coordinator_down = False
        training = self._training
        if training.coordinator.exit_code == 0:
            return  # it had just finished: `look` begins the next run
        training.start_coordinator_again()

    def _end_worker(self, slot: int, number: signal.Signals, until: float) -> bool:
        process = self._training.workers[slot]
        if slot in self._down or process.exit_code is not None:
            return False
        self._down.add(slot)
        process.send(number)

        def again() -> None:
            self._down.discard(slot)
            self._training.start_worker_again(slot)

        self._at(until, lambda now: self._again(process, now, again))
        return True

    def _again(
        self, process: ChildProcess, now: float, start: Callable[[], None]
    ) -> None:
        """Start what takes a process's place, as soon as that has ended."""
        if process.exit_code is None:
            self._at(now + 0.1, lambda later: self._again(process, later, start))
        else:
            start()

    def _freeze(self, process: ChildProcess, until: float) -> bool:
        if process.exit_code is not None:
            return False
        self._stop(process)
        self._at(until, lambda _: self._go_on(process))
        return True

    def _slow(self, process: ChildProcess, until: float, now: float) -> bool:
        if process.exit_code is not None:
            return False
        self._stop(process)
        stopped_until = min(now + STOPPED_S, until)

        def go_on(later: float) -> None:
            self._go_on(process)
            if later + RUNS_S < until:
                again = later + RUNS_S
                self._at(again, lambda at: self._slow(process, until, at))

        self._at(stopped_until, go_on)
        return True

    def _stop(self, process: ChildProcess) -> None:
        self._stopped[process] += 1
        process.send(signal.SIGSTOP)

    def _go_on(self, process: ChildProcess) -> None:
        """Once nobody else wants it stopped."""
        self._stopped[process] -= 1
        if not self._stopped[process]:
            process.send(signal.SIGCONT)

    def _fill_disk(self, until: float) -> bool:
        """A run with nothing on disk would end, as it should, so it is left alone.

        So would a coordinator that is just starting.
        """
        process = self._training.coordinator
        if not process.is_ready or not self._training.has_steps():
            return False
        if not _limit_files(process, SMALL_FILE_BYTES):
            return False
        self._at(until, lambda _: _limit_files(process, None))
        return True


def _limit_files(process: ChildProcess, most_bytes: int | None) -> bool:
    """Bound the size of a process's files, or lift the bound; whether it could be."""
    import resource

    if sys.platform != "linux" or process.exit_code is not None:
        return False
    try:
        _, hard = resource.prlimit(process.pid, resource.RLIMIT_FSIZE)
        soft = hard if most_bytes is None else most_bytes
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (soft, hard))
    except (ProcessLookupError, PermissionError):
        return False
    return True
