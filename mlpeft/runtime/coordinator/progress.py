"""The run's progress, readable from other threads than the training thread.

The training thread writes; the event loop and the metrics thread read. Each value is
assigned atomically.
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
"""Minimum seconds between marks of the pace."""


class ProgressReporter:
    """A `mlpeft.reporting.Reporter` that stores the run's progress.

    Args:
        clock: Monotonic time in seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._total = 0
        self._iteration = 0
        self._validation = ""
        self._message = ""
        self._pace = Pace(0, clock())
        self._next_mark = 0.0

    def progress(self) -> RunProgress:
        """The run's progress."""
        now, iteration = self._clock(), self._iteration
        return RunProgress(
            iteration=iteration,
            iterations=self._total,
            per_second=self._pace.per_second_at(iteration, now),
            seconds_left=self._pace.seconds_left_at(iteration, self._total, now),
            validation=self._validation,
            message=self._message,
        )

    def start(self, config: RunConfig, run_dir: Path, first_iteration: int) -> None:
        """Start to measure."""
        self._total = config.meta_learning.num_meta_iterations
        self._iteration = first_iteration
        self._pace = Pace(first_iteration, self._clock())

    def iteration(self, iteration: int, metrics: Mapping[str, float]) -> None:
        """Store the iteration."""
        self._iteration = iteration
        now = self._clock()
        if now >= self._next_mark:
            self._pace.mark(iteration, now)
            self._next_mark = now + MARK_S

    def validation(self, iteration: int, result: EvalResult) -> None:
        """Store the score."""
        self._validation = f"{iteration}: {result.headline}"

    def checkpoint(self, iteration: int, path: Path) -> None:
        """Nothing: checkpoints are not progress."""

    def message(self, text: str) -> None:
        """Store the message."""
        self._message = text

    def close(self) -> None:
        """Nothing: the final state stays readable."""
