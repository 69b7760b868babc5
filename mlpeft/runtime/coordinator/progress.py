"""How far the run is, for whoever asks the coordinator while the training thread works.

The training thread writes, the event loop and the thread of the metrics read: each
value is one that Python assigns at once.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from mlpeft.cluster.overview import RunProgress
from mlpeft.reporting.pace import Pace

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from mlpeft.config import RunConfig
    from mlpeft.results import EvalResult

MARK_S = 0.25
"""Least time between two marks of the pace."""


class ProgressReporter:
    """A `mlpeft.reporting.Reporter` that remembers where the run is.

    Args:
        clock: Seconds, of a clock that does not jump.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._total = 0
        self._iteration = 0
        self._validation = ""
        self._pace = Pace(0, clock())
        self._next_mark = 0.0

    def progress(self) -> RunProgress:
        """Where the run is."""
        rate = self._pace.per_second_at(self._iteration, self._clock())
        left = self._total - self._iteration
        return RunProgress(
            iteration=self._iteration,
            iterations=self._total,
            per_second=rate,
            seconds_left=None if rate is None else left / rate,
            validation=self._validation,
        )

    def start(self, config: RunConfig, run_dir: Path, first_iteration: int) -> None:
        """Begin to measure."""
        self._total = config.meta_learning.num_meta_iterations
        self._iteration = first_iteration
        self._pace = Pace(first_iteration, self._clock())

    def iteration(self, iteration: int, metrics: Mapping[str, float]) -> None:
        """Note it."""
        self._iteration = iteration
        now = self._clock()
        if now >= self._next_mark:
            self._pace.mark(iteration, now)
            self._next_mark = now + MARK_S

    def validation(self, iteration: int, result: EvalResult) -> None:
        """Note the score."""
        self._validation = f"{iteration}: {result.headline}"

    def checkpoint(self, iteration: int, path: Path) -> None:
        """Nothing that is asked for."""

    def message(self, text: str) -> None:
        """The log has it."""

    def close(self) -> None:
        """Stay as it is: whoever asks after the end sees the end."""
