"""Collects everything that is wrong with a TaskConfig, to be told at once."""

from __future__ import annotations

import math
from numbers import Integral, Real
from os import PathLike
from typing import TYPE_CHECKING, Any

from mlpeft.errors import ConfigError, nearest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mlpeft.tasks.episode import TaskConfig


class Problems:
    """The problems of one task; each check adds to them, `done` raises them.

    Args:
        config: The task to look at.
        params: The task_params that its family knows.
        min_classes: The least num_classes that makes sense.
    """

    def __init__(
        self, config: TaskConfig, params: Sequence[str], min_classes: int = 2
    ) -> None:
        self._config = config
        self.found: list[str] = []
        if not isinstance(config.task_id, str) or not config.task_id:
            self.found.append(f"task_id: expected a text, got {config.task_id!r}")
        self._sizes(min_classes)
        for name in config.task_params:
            if name not in params:
                self.found.append(
                    f"task_params.{name}: {config.task_family} does not know it; "
                    f"{nearest(str(name), params)}"
                )

    def _sizes(self, min_classes: int) -> None:
        lowest = {
            "num_classes": min_classes,
            "input_dim": 1,
            "support_size": 1,
            "query_size": 0,
        }
        for name, low in lowest.items():
            value = getattr(self._config, name)
            if not isinstance(value, Integral) or isinstance(value, bool):
                self.found.append(f"{name}: expected a whole number, got {value!r}")
            elif value < low:
                self.found.append(f"{name}: expected at least {low}, got {value}")

    def number(self, name: str, low: float = -math.inf, high: float = math.inf) -> None:
        """The parameter, if given, is a finite number in [low, high]."""
        if name in self._config.task_params:
            value = self._config.task_params[name]
            if not _is_number(value, low, high):
                self._expected(name, f"a number{_span(low, high)}", value)

    def numbers(self, name: str, count: int, low: float = -math.inf) -> None:
        """The parameter, if given, is one finite number or a list of `count`."""
        if name not in self._config.task_params:
            return
        value = self._config.task_params[name]
        values = list(value) if hasattr(value, "__len__") else [value]
        if isinstance(value, str) or (
            hasattr(value, "__len__") and len(value) != count
        ):
            self._expected(name, f"a number or a list of {count}", value)
        elif not all(_is_number(one, low, math.inf) for one in values):
            self._expected(name, f"numbers{_span(low, math.inf)}", value)

    def choice(self, name: str, valid: Sequence[str]) -> None:
        """The parameter, if given, is one of these words."""
        if name in self._config.task_params:
            value = self._config.task_params[name]
            if value not in valid:
                self.found.append(
                    f"task_params.{name}: {value!r} is not one; "
                    f"{nearest(str(value), valid)}"
                )

    def flag(self, name: str) -> None:
        """The parameter, if given, is true or false."""
        if name in self._config.task_params:
            value = self._config.task_params[name]
            if not isinstance(value, bool):
                self._expected(name, "true or false", value)

    def text(self, name: str) -> None:
        """The parameter is given, and not empty."""
        value = self._config.task_params.get(name)
        if not isinstance(value, str | PathLike) or not str(value):
            self._expected(name, "a text", value)

    def whole(self, name: str, low: int) -> None:
        """The parameter, if given, is a whole number of at least `low`."""
        value = self._config.task_params.get(name, low)
        if not isinstance(value, Integral) or isinstance(value, bool) or value < low:
            self._expected(name, f"a whole number of at least {low}", value)

    def done(self) -> None:
        """Raise what was found.

        Raises:
            ConfigError: Listing every problem.
        """
        if self.found:
            raise ConfigError(self.found, f"task {self._config.task_id!r}")

    def _expected(self, name: str, what: str, value: Any) -> None:
        self.found.append(f"task_params.{name}: expected {what}, got {value!r}")


def _is_number(value: Any, low: float, high: float) -> bool:
    if not isinstance(value, Real) or isinstance(value, bool):
        return False
    return math.isfinite(value) and low <= float(value) <= high


def _span(low: float, high: float) -> str:
    if low == -math.inf and high == math.inf:
        return ""
    if high == math.inf:
        return f" of at least {low:g}"
    return f" from {low:g} to {high:g}"
