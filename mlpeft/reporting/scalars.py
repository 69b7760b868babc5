"""The base class of reporters that plot scalars."""

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
"""Seconds between training metrics: a plot cannot resolve more."""


class ScalarReporter(ABC):
    """Sends `train/...` at most every `TRAIN_S`, and every `validation/...`.

    Args:
        clock: Monotonic time in seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._next_train = clock()

    @abstractmethod
    def start(self, config: RunConfig, run_dir: Path, first_iteration: int) -> None:
        """See `Reporter.start`."""

    @abstractmethod
    def log(self, iteration: int, scalars: Mapping[str, float]) -> None:
        """Send scalars by name."""

    @abstractmethod
    def close(self) -> None:
        """See `Reporter.close`."""

    def iteration(self, iteration: int, metrics: Mapping[str, float]) -> None:
        """Send the metrics if `TRAIN_S` have passed since the last."""
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
        """Nothing: checkpoints are not plotted."""

    def message(self, text: str) -> None:  # noqa: B027 - optional
        """Nothing: messages are not plotted."""


def package_missing(switch: str, package: str) -> ConfigError:
    """The error of an enabled reporter whose package is not installed."""
    problem = (
        f"logging.{switch} is true, but {package} is not installed; run "
        f"`pip install 'mlpeft[{package}]'` (or `pip install {package}`), or set it to "
        "false"
    )
    return ConfigError([problem])
