"""What a training tells whoever listens, and telling several at once."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Protocol

from mlpeft.reporting.console import ConsoleReporter
from mlpeft.reporting.jsonl import JsonlReporter
from mlpeft.reporting.log_file import LogReporter

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from mlpeft.config import RunConfig
    from mlpeft.results import EvalResult


class Reporter(Protocol):
    """Told about a training as it goes.

    An iteration's number is how many meta-iterations are done with it: 1 after the
    first; 0 is the state before any.
    """

    def start(self, config: RunConfig, run_dir: Path, first_iteration: int) -> None:
        """A training begins, or goes on.

        Args:
            config: The run's configuration.
            run_dir: The run's folder; it exists.
            first_iteration: Meta-iterations that were done before: 0, or where a
                resumed run goes on. What was reported beyond it is void.
        """
        ...

    def iteration(self, iteration: int, metrics: Mapping[str, float]) -> None:
        """A meta-iteration is done. Called thousands of times a second: be cheap.

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
        """The state after an iteration will be on disk next: reports up to it first."""
        ...

    def message(self, text: str) -> None:
        """Something that a person should read."""
        ...

    def close(self) -> None:
        """The training is over, or failed. May be called twice."""
        ...


class Reporters:
    """Several reporters as one, told in turn."""

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
        """Close all of them, also where closing one fails."""
        with contextlib.ExitStack() as stack:
            for reporter in reversed(self.reporters):
                stack.callback(reporter.close)


def build_reporters(config: RunConfig, *, console: bool = True) -> Reporters:
    """The terminal, metrics.jsonl, the log file, and what `logging` switches on.

    Args:
        config: The run's configuration.
        console: False leaves the terminal out (for `--json` and `--quiet`).

    Raises:
        ConfigError: If a switch needs a package that is not installed, or the log file
            cannot be written.
    """
    reporters: list[Reporter] = [JsonlReporter(), LogReporter(config)]
    if console:
        reporters.append(ConsoleReporter())
    if config.logging.wandb_enabled:
        from mlpeft.reporting.wandb import WandbReporter

        reporters.append(WandbReporter())
    if config.logging.tensorboard_enabled:
        from mlpeft.reporting.tensorboard import TensorBoardReporter

        reporters.append(TensorBoardReporter())
    return Reporters(reporters)
