"""Tasks of the user's own: a Python function makes the episodes.

    TaskConfig("a", "custom", task_params={"entry_point": "my_tasks:episode"})

`custom` is classification, `custom_regression` regression. The function gets the
TaskConfig and a NumPy generator and returns support_x, support_y, query_x, query_y (an
Episode, or a tuple). It should take what its task is from `config.task_id`, and what
the episode draws from the generator alone. Further task_params are its own.

Importing a module runs its code. So a module is imported only once this process has
been told that it may be, by `allow`; a message or a file naming one is not enough.
"""

from __future__ import annotations

import math
import traceback
from typing import TYPE_CHECKING, Any

import numpy as np

from mlpeft.config import entry_points
from mlpeft.errors import ConfigError, DataError, ShapeError
from mlpeft.tasks.check import Problems
from mlpeft.tasks.episode import Episode

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from mlpeft.tasks.episode import TaskConfig

ENTRY_POINT = "entry_point"
INPUT_SHAPE = "input_shape"
_allowed: set[str] = set()


def allow(module: str) -> None:
    """Let this process import a module because a task names it."""
    _allowed.add(module)


def module_of(task_params: Mapping[str, Any]) -> str | None:
    """The module that an entry point names; None if it is not of that form."""
    return entry_points.module_of(task_params.get(ENTRY_POINT))


class Custom:
    """`custom`, `custom_regression`; task_params: entry_point, input_shape, any more.

    Args:
        name: The task_family that it answers to.
        regression: Whether y are targets rather than labels.
    """

    pooled = False
    per_class = False

    def __init__(self, name: str, *, regression: bool) -> None:
        self.name = name
        self.regression = regression

    def check(self, config: TaskConfig) -> None:
        """Raise ConfigError, listing every problem, if the task cannot be drawn."""
        problems = Problems(
            config, tuple(config.task_params), min_classes=1 if self.regression else 2
        )
        shape = self.input_shape(config)
        if math.prod(shape) != config.input_dim:
            problems.found.append(
                f"input_dim: task_params.{INPUT_SHAPE} {list(shape)} has "
                f"{math.prod(shape)} numbers, got {config.input_dim}"
            )
        try:
            _function(config.task_params)
        except ConfigError as error:
            problems.found.extend(error.problems)
        problems.done()

    def draw(self, config: TaskConfig, rng: np.random.Generator) -> Episode:
        """What the function returns, as float32 x and int32 or float32 y.

        Raises:
            ShapeError: If an array has not the shape that the config says.
            DataError: If a label or a number is not a possible one, or the function
                fails.
        """
        made = _called(_function(config.task_params), config, rng)
        if not isinstance(made, tuple | list) or len(made) != 4:
            raise ShapeError(
                f"{config.task_params[ENTRY_POINT]} returned {type(made).__name__}; "
                "expected (support_x, support_y, query_x, query_y)"
            )
        kind = np.float32 if self.regression else np.int32
        dtypes = (np.float32, kind, np.float32, kind)
        arrays = [
            np.asarray(array, dtype) for array, dtype in zip(made, dtypes, strict=True)
        ]
        outputs = (config.num_classes,) if self.regression else ()
        for name, array, size, rest in (
            ("support_x", arrays[0], config.support_size, self.input_shape(config)),
            ("support_y", arrays[1], config.support_size, outputs),
            ("query_x", arrays[2], config.query_size, self.input_shape(config)),
            ("query_y", arrays[3], config.query_size, outputs),
        ):
            _verify(config, name, array, (size, *rest))
        return Episode(*arrays)

    def input_dim(self, task_params: Mapping[str, Any]) -> int:
        """As task_params.input_shape says, else 2."""
        return math.prod(task_params.get(INPUT_SHAPE, (2,)))

    def input_shape(self, config: TaskConfig) -> tuple[int, ...]:
        """task_params.input_shape, else flat."""
        return tuple(config.task_params.get(INPUT_SHAPE, (config.input_dim,)))

    def digests(self, config: TaskConfig) -> dict[str, str]:
        """What the function reads is not known."""
        return {}


def _called(
    function: Callable[..., Any], config: TaskConfig, rng: np.random.Generator
) -> Any:
    """What the function returns; its own errors with the place where they arose."""
    try:
        return function(config, rng)
    except Exception as error:  # whatever the user's own code may raise
        place = traceback.extract_tb(error.__traceback__)[-1]
        raise DataError(
            f"{config.task_params[ENTRY_POINT]}, task {config.task_id!r}, failed with "
            f"{type(error).__name__}: {error} ({place.filename}, line {place.lineno}); "
            "it is called with the TaskConfig and a NumPy generator"
        ) from error


def _function(task_params: Mapping[str, Any]) -> Callable[..., Any]:
    """The function that task_params.entry_point names."""
    module = module_of(task_params)
    if module is None:
        problem = (
            f"task_params.{ENTRY_POINT}: expected 'package.module:function', got "
            f"{task_params.get(ENTRY_POINT)!r}"
        )
        raise ConfigError([problem])
    if module not in _allowed:
        problem = (
            f"task_params.{ENTRY_POINT}: this process has not been told that it "
            f"may import {module!r}; if the code is yours, call "
            f"mlpeft.tasks.families.custom.allow({module!r}) first"
        )
        raise ConfigError([problem])
    return entry_points.load(task_params[ENTRY_POINT], f"task_params.{ENTRY_POINT}")


def _verify(
    config: TaskConfig, name: str, array: np.ndarray[Any, Any], shape: tuple[int, ...]
) -> None:
    source = f"{config.task_params[ENTRY_POINT]}, task {config.task_id!r}: {name}"
    if array.shape != shape:
        raise ShapeError(f"{source} has shape {array.shape}, expected {shape}")
    if array.dtype == np.int32:
        if array.size and not 0 <= array.min() <= array.max() < config.num_classes:
            raise DataError(
                f"{source} has labels {array.min()} to {array.max()}, expected 0 to "
                f"{config.num_classes - 1}"
            )
    elif not np.isfinite(array).all():
        raise DataError(f"{source} has numbers that are not finite")
