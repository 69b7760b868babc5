"""How fast a run goes, and when it will be done."""

from __future__ import annotations

import logging
import time
from collections import deque
from typing import TYPE_CHECKING, Final

from mlpeft.work import Kind

if TYPE_CHECKING:
    from collections.abc import Callable


class Pace:
    """Iterations per second over the last stretch of time.

    Only the last stretch, so that neither a compilation at the start nor a slow hour
    long ago bends the estimate.

    Args:
        start: The iteration from which it is measured.
        now: Seconds, of any clock that does not jump.
        window_s: Length of the stretch.
    """

    def __init__(self, start: int, now: float, window_s: float = 30.0) -> None:
        self._window_s = window_s
        self._marks = deque([(now, start)])

    def mark(self, iteration: int, now: float) -> None:
        """Note how far the run is."""
        self._marks.append((now, iteration))
        # The oldest mark may be older than the window, so that there is always one.
        while len(self._marks) > 2 and self._marks[1][0] <= now - self._window_s:
            self._marks.popleft()

    @property
    def per_second(self) -> float | None:
        """Iterations per second; None as long as nobody can know."""
        (start, first), (end, last) = self._marks[0], self._marks[-1]
        if end <= start or last <= first:
            return None
        return (last - first) / (end - start)

    def per_second_at(self, iteration: int, now: float) -> float | None:
        """Iterations per second until now, so that a standstill shows.

        Args:
            iteration: How far the run is now.
            now: Of the clock that marks come with.
        """
        start, first = self._marks[0]
        if now <= start or iteration <= first:
            return None
        return (iteration - first) / (now - start)

    def seconds_left(self, total: int) -> float | None:
        """Seconds until iteration `total`; None as long as nobody can know."""
        rate = self.per_second
        return None if rate is None else (total - self._marks[-1][1]) / rate


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


log = logging.getLogger("mlpeft.train")

EVERY_S: Final = 10.0
"""Seconds that a round may go on without a word."""
_WORDS: Final = {
    Kind.TRAIN: "meta-iteration under way: %d of %d tasks are done",
    Kind.VALIDATE: "validation: %d of %d episodes are scored",
    Kind.TEST: "test: %d of %d episodes are scored",
}


class SlowRounds:
    """Told of every task; logs a line now and then, and none for what is quick.

    Args:
        clock: Seconds, of a clock that does not jump.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._due = clock() + EVERY_S

    def __call__(self, kind: Kind, done: int, total: int) -> None:
        """Note how far a round is.

        Args:
            kind: What is computed.
            done: Tasks that are done; 0: the round begins.
            total: Tasks of the round.
        """
        now = self._clock()
        if done and now < self._due:
            return
        if 0 < done < total:
            log.info(_WORDS[kind], done, total)
        self._due = now + EVERY_S
