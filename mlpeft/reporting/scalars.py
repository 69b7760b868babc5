"""What reporters that draw curves of single numbers have in common."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Final

from mlpeft.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from mlpeft.config import RunConfig
    from mlpeft.results import EvalResult

TRAIN_S: Final = 0.5
"""Seconds between two reports of training metrics: a curve shows no more."""


class ScalarReporter(ABC):
    """Sends `train/...` now and then, and `validation/...` always.

    Args:
        clock: Seconds, of a clock that does not jump.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._next_train = clock()

    @abstractmethod
    def start(self, config: RunConfig, run_dir: Path, first_iteration: int) -> None:
        """See `Reporter.start`."""

    @abstractmethod
    def log(self, iteration: int, scalars: Mapping[str, float]) -> None:
        """Send numbers by their names."""

    @abstractmethod
    def close(self) -> None:
        """See `Reporter.close`."""

    def iteration(self, iteration: int, metrics: Mapping[str, float]) -> None:
        """Send the metrics if the last were sent a while ago."""
        now = self._clock()
        if now >= self._next_train:
            self._next_train = now + TRAIN_S
            self.log(iteration, {f"train/{k}": v for k, v in metrics.items()})

    def validation(self, iteration: int, result: EvalResult) -> None:
        """Send loss and accuracy after each number of inner steps."""
        scalars = {}
        for i, step in enumerate(result.steps):
            scalars[f"validation/loss_step_{step}"] = result.loss[i]
            if result.acc is not None:
                scalars[f"validation/acc_step_{step}"] = result.acc[i]
        self.log(iteration, scalars)

    def checkpoint(self, iteration: int, path: Path) -> None:  # noqa: B027 - optional
        """Checkpoints are not drawn."""

    def message(self, text: str) -> None:  # noqa: B027 - optional
        """Messages are not drawn."""


def missing(switch: str, package: str) -> ConfigError:
    """The error of a switch whose package is not installed."""
    problem = (
        f"logging.{switch} is true, but {package} is not installed; run "
        f"`pip install 'mlpeft[{package}]'` (or `pip install {package}`), or set it to "
        "false"
    )
    return ConfigError([problem])
