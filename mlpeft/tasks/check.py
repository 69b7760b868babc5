"""Collect all problems of a TaskConfig, to report them at once."""

from __future__ import annotations

import math
from numbers import Integral, Real
from os import PathLike
from typing import TYPE_CHECKING

from mlpeft.errors import ConfigError, nearest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mlpeft.tasks.episode import TaskConfig


class Problems:
    """The problems of one task; each check adds to them, `raise_any` raises them.

    Args:
        config: The task to check.
        params: The task_params of its family.
        min_classes: The lowest valid num_classes.
    """

    def __init__(
        self, config: TaskConfig, params: Sequence[str], min_classes: int = 2
    ) -> None:
        self._config = config
        self._messages: list[str] = []
        if not isinstance(config.task_id, str) or not config.task_id:
            self.add(f"task_id: expected a string, got {config.task_id!r}")
        self._check_sizes(min_classes)
        for name in config.task_params:
            if name not in params:
                self.add(
                    f"task_params.{name}: unknown to {config.task_family}; "
                    f"{nearest(str(name), params)}"
                )

    def add(self, *messages: str) -> None:
        """Add problems, each with its key in front."""
        self._messages.extend(messages)

    def raise_any(self) -> None:
        """Raise the problems, if there are any.

        Raises:
            ConfigError: Listing every problem.
        """
        if self._messages:
            raise ConfigError(self._messages, f"task {self._config.task_id!r}")

    def _check_sizes(self, min_classes: int) -> None:
        lowest = {
            "num_classes": min_classes,
            "input_dim": 1,
            "support_size": 1,
            "query_size": 0,
        }
        for name, low in lowest.items():
            value = getattr(self._config, name)
            if not isinstance(value, Integral) or isinstance(value, bool):
                self.add(f"{name}: expected an integer, got {value!r}")
            elif value < low:
                self.add(f"{name}: expected at least {low}, got {value}")

    def check_number(
        self, name: str, low: float = -math.inf, high: float = math.inf
    ) -> None:
        """The parameter, if present, must be a finite number in [low, high]."""
        if name in self._config.task_params:
            value = self._config.task_params[name]
            if not _is_number(value, low, high):
                self._add_expected(name, f"a number{_describe_range(low, high)}", value)

    def check_numbers(self, name: str, count: int, low: float = -math.inf) -> None:
        """The parameter, if present, must be a finite number or a list of `count`."""
        if name not in self._config.task_params:
            return
        value = self._config.task_params[name]
        values = list(value) if hasattr(value, "__len__") else [value]
        if isinstance(value, str) or (
            hasattr(value, "__len__") and len(value) != count
        ):
            self._add_expected(name, f"a number or a list of {count}", value)
        elif not all(_is_number(number, low, math.inf) for number in values):
            self._add_expected(name, f"numbers{_describe_range(low, math.inf)}", value)

    def check_choice(self, name: str, valid: Sequence[str]) -> None:
        """The parameter, if present, must be one of these strings."""
        if name in self._config.task_params:
            value = self._config.task_params[name]
            if value not in valid:
                self.add(
                    f"task_params.{name}: {value!r} is not valid; "
                    f"{nearest(str(value), valid)}"
                )

    def check_flag(self, name: str) -> None:
        """The parameter, if present, must be true or false."""
        if name in self._config.task_params:
            value = self._config.task_params[name]
            if not isinstance(value, bool):
                self._add_expected(name, "true or false", value)

    def check_string(self, name: str) -> None:
        """The parameter must be present, and not empty."""
        value = self._config.task_params.get(name)
        if not isinstance(value, str | PathLike) or not str(value):
            self._add_expected(name, "a string", value)

    def check_integer(self, name: str, low: int) -> None:
        """The parameter, if present, must be an integer of at least `low`."""
        value = self._config.task_params.get(name, low)
        if not isinstance(value, Integral) or isinstance(value, bool) or value < low:
            self._add_expected(name, f"an integer of at least {low}", value)

    def _add_expected(self, name: str, expected: str, value: object) -> None:
        self.add(f"task_params.{name}: expected {expected}, got {value!r}")


def _is_number(value: object, low: float, high: float) -> bool:
    if not isinstance(value, Real) or isinstance(value, bool):
        return False
    return math.isfinite(value) and low <= float(value) <= high


def _describe_range(low: float, high: float) -> str:
    if low == -math.inf and high == math.inf:
        return ""
    if high == math.inf:
        return f" of at least {low:g}"
    return f" from {low:g} to {high:g}"
