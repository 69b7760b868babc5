"""Progress on the terminal: one redrawn line, or plain lines at intervals."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn
from rich.table import Column

from mlpeft.reporting.pace import Pace, clock_time, speed
from mlpeft.reporting.terminal import is_interactive, progress_console
from mlpeft.results import number, percent

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from rich.console import Console

    from mlpeft.config import RunConfig
    from mlpeft.results import EvalResult

REDRAW_S: Final = 0.1
"""Seconds between redraws of the progress line."""
PLAIN_LINE_S: Final = 10.0
"""Seconds between plain lines; a validation shortens it to VALIDATION_LINE_S."""
VALIDATION_LINE_S: Final = 1.0
BAR_FROM_WIDTH: Final = 100
"""Terminal width in columns from which a bar fits."""


class ConsoleReporter:
    """Shows iteration, speed, loss, validation and the time left.

    On a terminal it redraws one line. Elsewhere (a file, a pipe, NO_COLOR, CI) it
    prints a line every ten seconds, every second after validations, and at the end.

    Args:
        console: Where to print; None: standard error.
        clock: Monotonic time in seconds.
    """

    def __init__(
        self,
        console: Console | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._console = console or progress_console()
        self._clock = clock
        self._total = 0
        self._iteration = 0
        self._metrics: Mapping[str, float] = {}
        self._validation = ""
        self._pace = Pace(0, clock())
        self._next_show = 0.0
        self._last_shown = 0.0
        self._pending = False  # whether something is not shown yet
        self._progress: Progress | None = None

    def start(self, config: RunConfig, run_dir: Path, first_iteration: int) -> None:
        """Print the start of the run."""
        self._begin(config, first_iteration)
        name, total = config.run.name, f"{self._total} meta-iterations, in {run_dir}"
        if first_iteration:
            self.message(f"{name} resumes after {first_iteration} of {total}")
        else:
            self.message(f"{name} trains for {total}")
        if is_interactive(self._console):
            self._progress = _progress_line(self._console)
            self._progress.add_task(
                config.run.name, total=self._total, completed=first_iteration, tail=""
            )
            self._progress.start()
        self._mark_shown(self._clock())

    def _begin(self, config: RunConfig, first_iteration: int) -> None:
        self._total = config.meta_learning.num_meta_iterations
        self._iteration = first_iteration
        self._pace = Pace(first_iteration, self._clock())

    def iteration(self, iteration: int, metrics: Mapping[str, float]) -> None:
        """Record the metrics; show them when a line is due."""
        self._iteration = iteration
        self._metrics = metrics
        self._pending = True
        if self._clock() >= self._next_show:
            self._show()

    def validation(self, iteration: int, result: EvalResult) -> None:
        """Show the score from now on."""
        self._iteration = max(self._iteration, iteration)
        self._validation = _score_text(result)
        self._pending = True
        if self._clock() >= self._last_shown + VALIDATION_LINE_S:
            self._show()
        else:
            self._next_show = min(self._next_show, self._last_shown + VALIDATION_LINE_S)

    def checkpoint(self, iteration: int, path: Path) -> None:
        """Nothing: checkpoints are routine."""

    def message(self, text: str) -> None:
        """Print a line, above the progress line if there is one."""
        self._console.print(text, markup=False, soft_wrap=True)

    def close(self) -> None:
        """Show the last state and release the terminal."""
        if self._pending:
            self._show()
        if self._progress is not None:
            self._progress.stop()
            self._progress = None

    def _show(self) -> None:
        now = self._clock()
        self._pace.mark(self._iteration, now)
        self._draw()
        self._mark_shown(now)

    def _draw(self) -> None:
        """Show the last state."""
        if self._progress is None:
            count = f"{self._iteration:>{len(str(self._total))}}/{self._total}"
            self.message(f"{count}  {self._details()}")
        else:
            (task,) = self._progress.task_ids
            self._progress.update(
                task, completed=self._iteration, tail=escape(self._details())
            )

    def _gap_s(self) -> float:
        """Seconds until the state is shown again."""
        return PLAIN_LINE_S if self._progress is None else REDRAW_S

    def _mark_shown(self, now: float) -> None:
        self._pending = False
        self._last_shown = now
        self._next_show = now + self._gap_s()

    def _details(self) -> str:
        """Speed, loss, validation and time left, for the end of the line."""
        parts = [speed(self._pace.per_second)]
        loss = self._metrics.get("query_loss", self._metrics.get("support_loss"))
        if loss is not None:
            parts.append(f"loss {loss:.3f}")
        if self._validation:
            parts.append(self._validation)
        left = clock_time(self._pace.seconds_left(self._total))
        parts.append(f"{left} left" if self._iteration < self._total else "done")
        return "  ".join(parts)


def _score_text(result: EvalResult) -> str:
    if result.acc is not None and result.acc_ci95 is not None:
        return f"validation {percent(result.acc[-1], result.acc_ci95[-1])}"
    return f"validation loss {number(result.loss[-1], result.loss_ci95[-1])}"


def _progress_line(console: Console) -> Progress:
    """Name, bar, count and details; no bar on a narrow terminal."""
    bar = [BarColumn(bar_width=20)] if console.width >= BAR_FROM_WIDTH else []
    return Progress(
        TextColumn("{task.description}"),
        *bar,
        TextColumn("{task.completed:.0f}/{task.total:.0f}"),
        TextColumn("{task.fields[tail]}", table_column=Column(no_wrap=True)),
        console=console,
        refresh_per_second=1 / REDRAW_S,
    )
