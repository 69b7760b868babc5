"""The speed of a run, and the time that it still takes."""

from __future__ import annotations

import logging
import time
from collections import deque
from typing import TYPE_CHECKING, Final

from mlpeft.work import Kind

if TYPE_CHECKING:
    from collections.abc import Callable

log = logging.getLogger("mlpeft.train")

EVERY_S: Final = 10.0
"""Seconds between log lines about a slow round."""
LEAST_ITERATIONS: Final = 5
"""Iterations from which on there is an estimate: the first ones compile kernels."""
_MESSAGES: Final = {
    Kind.TRAIN: "meta-iteration in progress: %d of %d tasks done",
    Kind.VALIDATE: "validation in progress: %d of %d episodes scored",
    Kind.TEST: "test in progress: %d of %d episodes scored",
}


class Pace:
    """Iterations per second over a sliding window.

    The window keeps a slow hour long ago from biasing the estimate. What came before
    the first mark, with its compilation, counts only until there is a second one.

    Args:
        start: The iteration at which measuring starts.
        now: Monotonic time in seconds.
        window_s: Length of the window.
    """

    def __init__(self, start: int, now: float, window_s: float = 30.0) -> None:
        self._window_s = window_s
        self._marks = deque([(now, start)])
        self._start = start
        self._warming_up = True

    def mark(self, iteration: int, now: float) -> None:
        """Record how far the run is."""
        first_time, first = self._marks[-1]
        if self._warming_up and iteration > first > self._start and now > first_time:
            self._warming_up = False
            self._marks.clear()
            self._marks.append((first_time, first))
        self._marks.append((now, iteration))
        # The oldest mark may be older than the window, so that two always remain.
        while len(self._marks) > 2 and self._marks[1][0] <= now - self._window_s:
            self._marks.popleft()

    @property
    def per_second(self) -> float | None:
        """Iterations per second; None until it can be measured."""
        (start, first), (end, last) = self._marks[0], self._marks[-1]
        if end <= start or last <= first:
            return None
        return (last - first) / (end - start)

    def per_second_at(self, iteration: int, now: float) -> float | None:
        """Iterations per second until now, so that a stall shows.

        Args:
            iteration: How far the run is now.
            now: Monotonic time in seconds, as for `mark`.
        """
        start, first = self._marks[0]
        if now <= start or iteration <= first:
            return None
        return (iteration - first) / (now - start)

    def seconds_left(self, total: int) -> float | None:
        """Seconds until iteration `total`; None until it can be estimated."""
        last = self._marks[-1][1]
        return self._left(self.per_second, last, total)

    def seconds_left_at(self, iteration: int, total: int, now: float) -> float | None:
        """As `seconds_left`, at the speed until now: see `per_second_at`."""
        return self._left(self.per_second_at(iteration, now), iteration, total)

    def _left(self, rate: float | None, iteration: int, total: int) -> float | None:
        least = min(LEAST_ITERATIONS, total // 2)
        if rate is None or iteration - self._start < least:
            return None
        return (total - iteration) / rate


def clock_time(seconds: float | None) -> str:
    """A duration as h:mm:ss or m:ss; `-:--` for an unknown one."""
    if seconds is None:
        return "-:--"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def speed(per_second: float | None) -> str:
    """Iterations per second in three figures; `- it/s` for an unknown speed."""
    if per_second is None:
        return "- it/s"
    decimals = 0 if per_second >= 100 else 1 if per_second >= 10 else 2
    return f"{per_second:.{decimals}f} it/s"


class SlowRounds:
    """Logs the progress of slow rounds; call it after every task.

    Args:
        clock: Monotonic time in seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._due = clock() + EVERY_S

    def __call__(self, kind: Kind, done: int, total: int) -> None:
        """Log the progress of a round if a line is due.

        Args:
            kind: What the round computes.
            done: Tasks done; 0: the round starts.
            total: Tasks of the round.
        """
        now = self._clock()
        if done and now < self._due:
            return
        if 0 < done < total:
            log.info(_MESSAGES[kind], done, total)
        self._due = now + EVERY_S
