"""The user's own tasks: a Python function makes the episodes.

    TaskConfig("a", "custom", task_params={"entry_point": "my_tasks:episode"})

`custom` is classification, `custom_regression` regression. The function gets the
TaskConfig and a NumPy generator and returns support_x, support_y, query_x, query_y (an
Episode, or a tuple). It should derive the task from `config.task_id`, and all that
differs between episodes from the generator. Further task_params are its own.

Importing a module runs its code. So a module is imported only if this process was
allowed to, by `allow`; its name in a message or a file is not enough.
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
    """The module of the entry point; None if it does not have that form."""
    return entry_points.module_of(task_params.get(ENTRY_POINT))


class Custom:
    """`custom`, `custom_regression`; task_params: entry_point, input_shape, any more.

    Args:
        name: Its task_family.
        regression: Whether y are targets rather than labels.
    """

    pooled = False
    per_class = False

    def __init__(self, name: str, *, regression: bool) -> None:
        self.name = name
        self.regression = regression

    def check(self, config: TaskConfig) -> None:
        """Raise ConfigError, listing every problem, if the task is invalid."""
        problems = Problems(
            config, tuple(config.task_params), min_classes=1 if self.regression else 2
        )
        shape = self.input_shape(config)
        if math.prod(shape) != config.input_dim:
            problems.add(
                f"input_dim: task_params.{INPUT_SHAPE} {list(shape)} has "
                f"{math.prod(shape)} numbers, got {config.input_dim}"
            )
        try:
            _load_function(config.task_params)
        except ConfigError as error:
            problems.add(*error.problems)
        problems.raise_any()

    def sample(self, config: TaskConfig, rng: np.random.Generator) -> Episode:
        """The function's episode, as float32 x and int32 or float32 y.

        Raises:
            ShapeError: If an array does not have the config's shape.
            DataError: If a label or a number is invalid, or the function fails.
        """
        episode = _call(_load_function(config.task_params), config, rng)
        if not isinstance(episode, tuple | list) or len(episode) != 4:
            raise ShapeError(
                f"{config.task_params[ENTRY_POINT]} returned {type(episode).__name__}; "
                "expected (support_x, support_y, query_x, query_y)"
            )
        y_dtype = np.float32 if self.regression else np.int32
        dtypes = (np.float32, y_dtype, np.float32, y_dtype)
        arrays = [
            np.asarray(array, dtype)
            for array, dtype in zip(episode, dtypes, strict=True)
        ]
        outputs = (config.num_classes,) if self.regression else ()
        for name, array, size, rest in (
            ("support_x", arrays[0], config.support_size, self.input_shape(config)),
            ("support_y", arrays[1], config.support_size, outputs),
            ("query_x", arrays[2], config.query_size, self.input_shape(config)),
            ("query_y", arrays[3], config.query_size, outputs),
        ):
            _check_array(config, name, array, (size, *rest))
        return Episode(*arrays)

    def input_dim(self, task_params: Mapping[str, Any]) -> int:
        """That of task_params.input_shape, else 2."""
        return math.prod(task_params.get(INPUT_SHAPE, (2,)))

    def input_shape(self, config: TaskConfig) -> tuple[int, ...]:
        """task_params.input_shape, else flat."""
        return tuple(config.task_params.get(INPUT_SHAPE, (config.input_dim,)))

    def digests(self, config: TaskConfig) -> dict[str, str]:
        """Empty: the function's data are unknown."""
        return {}


def _call(
    function: Callable[..., Any], config: TaskConfig, rng: np.random.Generator
) -> object:
    """Call the function; report its errors with file and line."""
    try:
        result: object = function(config, rng)
    except Exception as error:  # whatever the user's own code may raise
        frame = traceback.extract_tb(error.__traceback__)[-1]
        raise DataError(
            f"{config.task_params[ENTRY_POINT]}, task {config.task_id!r}, failed with "
            f"{type(error).__name__}: {error} ({frame.filename}, line {frame.lineno}); "
            "it is called with the TaskConfig and a NumPy generator"
        ) from error
    return result


def _load_function(task_params: Mapping[str, Any]) -> Callable[..., Any]:
    """The function of task_params.entry_point."""
    module = module_of(task_params)
    if module is None:
        problem = (
            f"task_params.{ENTRY_POINT}: expected 'package.module:function', got "
            f"{task_params.get(ENTRY_POINT)!r}"
        )
        raise ConfigError([problem])
    if module not in _allowed:
        problem = (
            f"task_params.{ENTRY_POINT}: this process may not import {module!r}; if "
            f"the code is yours, call mlpeft.tasks.families.custom.allow({module!r}) "
            "first"
        )
        raise ConfigError([problem])
    return entry_points.load(task_params[ENTRY_POINT], f"task_params.{ENTRY_POINT}")


def _check_array(
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
