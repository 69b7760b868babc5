"""The reporters that a configuration asks for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlpeft.reporting.base import Reporter, Reporters
from mlpeft.reporting.console import ConsoleReporter
from mlpeft.reporting.jsonl import JsonlReporter
from mlpeft.reporting.log_file import LogReporter

if TYPE_CHECKING:
    from mlpeft.config import RunConfig


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
