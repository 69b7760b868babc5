"""An episode: the data of one small task, and the task that it is drawn from."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np

    from mlpeft.params import Array


class Episode(NamedTuple):
    """Support set to adapt to, query set to judge by.

    Inside mlpeft the arrays are NumPy; `TaskDistribution.sample_episode` gives
    `mx.array`. x is float32, or int32 token numbers; y is int32 labels
    0 .. num_classes - 1, float32 targets (n, outputs) for regression, or int32 tokens
    (n, length) for sequences.

    Attributes:
        support_x: (support_size, *input shape); a family may add rows of its own.
        support_y: (support_size,), (support_size, outputs) or (support_size, length).
        query_x: (query_size, *input shape); query_size may be 0.
        query_y: (query_size,) or (query_size, outputs).
    """

    support_x: Array
    support_y: Array
    query_x: Array
    query_y: Array


@dataclass(frozen=True, slots=True)
class TaskConfig:
    """One task: a fixed problem from which any number of episodes can be drawn.

    The same `task_id` is the same problem (decision boundary, amplitude, ...) in every
    episode, every distribution and every process.

    Attributes:
        task_id: Names the task and seeds whatever `task_params` leaves open.
        task_family: Which kind of task (`linear_classification`, `omniglot`, ...).
        num_classes: Classes of an episode, or outputs of a regression.
        input_dim: Size of one flat input. Image families have a shape of their own and
            check that it has this many numbers.
        support_size: Examples in the whole support set, balanced over classes as far
            as it divides.
        query_size: Examples in the whole query set, likewise.
        task_params: The family's own settings; an unknown one is an error.
    """

    task_id: str
    task_family: str
    num_classes: int = 2
    input_dim: int = 2
    support_size: int = 5
    query_size: int = 20
    task_params: dict[str, Any] = field(default_factory=dict)


FrozenParams: TypeAlias = tuple[tuple[str, Any], ...]
"""task_params as a key of a cache: (name, value) pairs, lists as tuples."""


def frozen_params(config: TaskConfig) -> FrozenParams:
    """The task_params in a form that can be hashed; `dict` of it reads the same."""
    params = config.task_params
    return tuple((name, _frozen(params[name])) for name in sorted(params))


def _frozen(value: Any) -> Any:
    if hasattr(value, "tolist"):  # a NumPy array or scalar
        value = value.tolist()
    return tuple(map(_frozen, value)) if isinstance(value, list | tuple) else value


class Family(Protocol):
    """A kind of task: turns a TaskConfig and a generator into an episode."""

    name: str
    """The task_family that it answers to."""
    regression: bool
    """True: y are float targets and the loss is mean squared error."""
    pooled: bool
    """True: episodes are drawn from data that has splits train, val and test."""
    per_class: bool
    """True: `k_shot` counts examples of each class; else of the whole task."""

    def check(self, config: TaskConfig) -> None:
        """Raise ConfigError, listing every problem, if the task cannot be drawn."""
        ...

    def draw(self, config: TaskConfig, rng: np.random.Generator) -> Episode:
        """A fresh episode (NumPy arrays) of the task, from this generator alone."""
        ...

    def input_dim(self, task_params: Mapping[str, Any]) -> int:
        """How many numbers one input has where a configuration leaves it open."""
        ...

    def input_shape(self, config: TaskConfig) -> tuple[int, ...]:
        """Shape of one input of the task."""
        ...

    def digests(self, config: TaskConfig) -> dict[str, str]:
        """SHA-256 of each data set that the task draws from, by its name."""
        ...
