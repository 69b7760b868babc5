"""Writes the log of a run to `logging.log_dir`."""

from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING, Final

from mlpeft.errors import ConfigError
from mlpeft.platform.home import expanded
from mlpeft.reporting.log_lines import file_handler

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from mlpeft.config import RunConfig
    from mlpeft.results import EvalResult


SUFFIX: Final = ".jsonl"


def log_path(config: RunConfig) -> Path:
    """The path of a run's log: `logging.log_dir / RUN.jsonl`."""
    return expanded(config.logging.log_dir) / f"{config.run.name}{SUFFIX}"


class LogReporter:
    """Appends the run's events, and all that mlpeft logs meanwhile, to its log.

    Args:
        config: The run's configuration: name, folder and level.

    Raises:
        ConfigError: If the file cannot be written.
    """

    def __init__(self, config: RunConfig) -> None:
        settings = config.logging
        path = log_path(config)
        try:
            # The first line opens it: a reporter that never starts needs no close.
            self._handler = file_handler(path, run=config.run.name)
        except OSError as error:
            raise ConfigError(
                f"logging.log_dir: cannot write {path.absolute()} ({error.strerror}); "
                "choose a writable folder"
            ) from error
        self._log = logging.Logger(  # noqa: LOG001 - not for the terminal
            "mlpeft.run", settings.log_level
        )
        self._log.addHandler(self._handler)
        self._total = config.meta_learning.num_meta_iterations
        self._iteration: int | None = None  # None: not started, or closed

    def start(self, config: RunConfig, run_dir: Path, first_iteration: int) -> None:
        """Log the start, and add mlpeft's log lines from now on."""
        logging.getLogger("mlpeft").addHandler(self._handler)
        self._log.info("started in %s from meta-iteration %d", run_dir, first_iteration)
        self._iteration = first_iteration

    def iteration(self, iteration: int, metrics: Mapping[str, float]) -> None:
        """Nothing: metrics.jsonl has every iteration."""
        self._iteration = iteration

    def validation(self, iteration: int, result: EvalResult) -> None:
        """Log the score."""
        self._log.info(
            "%d/%d: %s",
            *(iteration, self._total, result.headline),
            extra={"iteration": iteration},
        )

    def checkpoint(self, iteration: int, path: Path) -> None:
        """Log the path."""
        self._log.debug("saving %s", path, extra={"iteration": iteration})

    def message(self, text: str) -> None:
        """Log the message."""
        self._log.info(text)

    def close(self) -> None:
        """Log how the run ended, and close the file."""
        if self._iteration is not None:
            # Callers close it in a finally block: an error may be propagating.
            error = sys.exception()
            self._log.log(
                logging.INFO if error is None else logging.ERROR,
                "ended after meta-iteration %d of %d%s",
                *(self._iteration, self._total, _error_text(error)),
                extra={"iteration": self._iteration},
            )
            self._iteration = None
        logging.getLogger("mlpeft").removeHandler(self._handler)
        self._handler.close()


def _error_text(error: BaseException | None) -> str:
    """The error as the end of a line; "" for none."""
    return "" if error is None else f": {str(error) or type(error).__name__}"
