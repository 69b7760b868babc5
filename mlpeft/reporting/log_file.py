"""The log of a run in `logging.log_dir`: what a person would look up later."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from mlpeft.errors import ConfigError
from mlpeft.reporting.logs import LINE

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from mlpeft.config import RunConfig
    from mlpeft.results import EvalResult


class LogReporter:
    """Appends to `log_dir/RUN.log`, with whatever mlpeft logs meanwhile.

    Args:
        config: The run's configuration: name, folder and level.

    Raises:
        ConfigError: If the file cannot be written.
    """

    def __init__(self, config: RunConfig) -> None:
        settings = config.logging
        path = settings.log_dir / f"{config.run.name}.log"
        try:
            settings.log_dir.mkdir(parents=True, exist_ok=True)
            path.touch()
        except OSError as error:
            raise ConfigError(
                f"logging.log_dir: cannot write {path.absolute()} ({error.strerror}); "
                "choose a folder that you may write"
            ) from error
        # Opened by the first line: a reporter that is never started is never closed.
        self._handler = logging.FileHandler(path, encoding="utf-8", delay=True)
        self._handler.setFormatter(logging.Formatter(LINE, "%Y-%m-%d %H:%M:%S"))
        self._log = logging.Logger(  # noqa: LOG001 - the terminal must not get it too
            "mlpeft.run", settings.log_level
        )
        self._log.addHandler(self._handler)
        self._total = config.meta_learning.num_meta_iterations

    def start(self, config: RunConfig, run_dir: Path, first_iteration: int) -> None:
        """Note it, and take what mlpeft logs from now on."""
        logging.getLogger("mlpeft").addHandler(self._handler)
        self._log.info("%s: from meta-iteration %d", run_dir, first_iteration)

    def iteration(self, iteration: int, metrics: Mapping[str, float]) -> None:
        """Keep quiet: metrics.jsonl has every iteration."""

    def validation(self, iteration: int, result: EvalResult) -> None:
        """Note the score."""
        self._log.info("%d/%d: %s", iteration, self._total, result.headline)

    def checkpoint(self, iteration: int, path: Path) -> None:
        """Note where it is."""
        self._log.debug("saved %s", path)

    def message(self, text: str) -> None:
        """Note it."""
        self._log.info(text)

    def close(self) -> None:
        """Let go of the file."""
        logging.getLogger("mlpeft").removeHandler(self._handler)
        self._handler.close()
