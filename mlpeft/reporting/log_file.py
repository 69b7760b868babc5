"""The log of a run in `logging.log_dir`: what a person would look up later."""

from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING, Final

from mlpeft.errors import ConfigError
from mlpeft.reporting.log_lines import file_handler

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from mlpeft.config import RunConfig
    from mlpeft.results import EvalResult


SUFFIX: Final = ".jsonl"


def log_path(config: RunConfig) -> Path:
    """Where a run's log is: `logging.log_dir / RUN.jsonl`."""
    return config.logging.log_dir / f"{config.run.name}{SUFFIX}"


class LogReporter:
    """Appends to the run's log, with whatever mlpeft logs meanwhile.

    Args:
        config: The run's configuration: name, folder and level.

    Raises:
        ConfigError: If the file cannot be written.
    """

    def __init__(self, config: RunConfig) -> None:
        settings = config.logging
        path = log_path(config)
        try:
            # Opened by the first line: who is never started need not be closed.
            self._handler = file_handler(path, run=config.run.name)
        except OSError as error:
            raise ConfigError(
                f"logging.log_dir: cannot write {path.absolute()} ({error.strerror}); "
                "choose a folder that you may write"
            ) from error
        self._log = logging.Logger(  # noqa: LOG001 - the terminal must not get it too
            "mlpeft.run", settings.log_level
        )
        self._log.addHandler(self._handler)
        self._total = config.meta_learning.num_meta_iterations
        self._iteration: int | None = None  # None: not started, or closed

    def start(self, config: RunConfig, run_dir: Path, first_iteration: int) -> None:
        """Note it, and take what mlpeft logs from now on."""
        logging.getLogger("mlpeft").addHandler(self._handler)
        self._log.info("%s: from meta-iteration %d", run_dir, first_iteration)
        self._iteration = first_iteration

    def iteration(self, iteration: int, metrics: Mapping[str, float]) -> None:
        """Keep quiet: metrics.jsonl has every iteration."""
        self._iteration = iteration

    def validation(self, iteration: int, result: EvalResult) -> None:
        """Note the score."""
        self._log.info(
            "%d/%d: %s",
            *(iteration, self._total, result.headline),
            extra={"iteration": iteration},
        )

    def checkpoint(self, iteration: int, path: Path) -> None:
        """Note where it is."""
        self._log.debug("saving %s", path, extra={"iteration": iteration})

    def message(self, text: str) -> None:
        """Note it."""
        self._log.info(text)

    def close(self) -> None:
        """Say how the run ended, and let go of the file."""
        if self._iteration is not None:
            # Whoever started it closes it in any case; an error is then on its way.
            error = sys.exception()
            self._log.log(
                logging.INFO if error is None else logging.ERROR,
                "ended after meta-iteration %d of %d%s",
                *(self._iteration, self._total, _why(error)),
                extra={"iteration": self._iteration},
            )
            self._iteration = None
        logging.getLogger("mlpeft").removeHandler(self._handler)
        self._handler.close()


def _why(error: BaseException | None) -> str:
    """What came in between, as the end of a line."""
    return "" if error is None else f": {str(error) or type(error).__name__}"
