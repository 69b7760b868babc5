"""The interface of reporters, and several of them as one."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Protocol

from mlpeft.reporting.console import ConsoleReporter
from mlpeft.reporting.jsonl import JsonlReporter
from mlpeft.reporting.log_file import LogReporter
from mlpeft.reporting.notebook import NotebookReporter, in_notebook
from mlpeft.reporting.sessions import SessionReporter

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from mlpeft.config import RunConfig
    from mlpeft.results import EvalResult


class Reporter(Protocol):
    """Receives the events of a training run.

    An iteration's number counts the meta-iterations done: 1 after the first, 0 before.
    """

    def start(self, config: RunConfig, run_dir: Path, first_iteration: int) -> None:
        """A run starts or resumes.

        Args:
            config: The run's configuration.
            run_dir: The run's folder; it exists.
            first_iteration: Meta-iterations done before: 0, or where a resumed run
                continues. Earlier reports beyond it are void.
        """
        ...

    def iteration(self, iteration: int, metrics: Mapping[str, float]) -> None:
        """A meta-iteration is done. Called thousands of times per second: be cheap.

        Args:
            iteration: Its number.
            metrics: support_loss, param_diff, outer_lr, and query_loss where training
                episodes have queries.
        """
        ...

    def validation(self, iteration: int, result: EvalResult) -> None:
        """The meta-parameters of an iteration were evaluated."""
        ...

    def checkpoint(self, iteration: int, path: Path) -> None:
        """A checkpoint of an iteration is about to be written: flush reports first."""
        ...

    def message(self, text: str) -> None:
        """A message for the user."""
        ...

    def close(self) -> None:
        """The run ended or failed. May be called twice."""
        ...


class Reporters:
    """Passes every event to several reporters in turn."""

    def __init__(self, reporters: Iterable[Reporter] = ()) -> None:
        self.reporters = list(reporters)

    def start(self, config: RunConfig, run_dir: Path, first_iteration: int) -> None:
        """See `Reporter.start`."""
        for reporter in self.reporters:
            reporter.start(config, run_dir, first_iteration)

    def iteration(self, iteration: int, metrics: Mapping[str, float]) -> None:
        """See `Reporter.iteration`."""
        for reporter in self.reporters:
            reporter.iteration(iteration, metrics)

    def validation(self, iteration: int, result: EvalResult) -> None:
        """See `Reporter.validation`."""
        for reporter in self.reporters:
            reporter.validation(iteration, result)

    def checkpoint(self, iteration: int, path: Path) -> None:
        """See `Reporter.checkpoint`."""
        for reporter in self.reporters:
            reporter.checkpoint(iteration, path)

    def message(self, text: str) -> None:
        """See `Reporter.message`."""
        for reporter in self.reporters:
            reporter.message(text)

    def close(self) -> None:
        """Close all reporters, even if closing one fails."""
        with contextlib.ExitStack() as stack:
            for reporter in reversed(self.reporters):
                stack.callback(reporter.close)


def build_reporters(config: RunConfig, *, console: bool = True) -> Reporters:
    """Build the reporters for the run's folder, the log, terminal and `logging`.

    Args:
        config: The run's configuration.
        console: Whether to report to the terminal; False for `--json` and `--quiet`.

    Raises:
        ConfigError: If an enabled reporter needs a package that is not installed, or
            the log file cannot be written.
    """
    reporters: list[Reporter] = [
        JsonlReporter(),
        SessionReporter(),
        LogReporter(config),
    ]
    if console:
        reporters.append(NotebookReporter() if in_notebook() else ConsoleReporter())
    if config.logging.wandb_enabled:
        from mlpeft.reporting.wandb import WandbReporter

        reporters.append(WandbReporter())
    if config.logging.trackio_enabled:
        from mlpeft.reporting.trackio import TrackioReporter

        reporters.append(TrackioReporter())
    if config.logging.tensorboard_enabled:
        from mlpeft.reporting.tensorboard import TensorBoardReporter

        reporters.append(TensorBoardReporter())
    return Reporters(reporters)


def usual_reporter() -> Reporter:
    """What a training from Python reports to: metrics.jsonl, and a notebook's bar."""
    if not in_notebook():
        return JsonlReporter()
    return Reporters([JsonlReporter(), NotebookReporter()])
