"""Episodes, the tasks they are sampled from, and the families of tasks."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np

    from mlpeft.params import Array


class Episode(NamedTuple):
    """A support set for adaptation and a query set for scoring.

    Inside mlpeft the arrays are NumPy's; `TaskDistribution.sample_episode` returns
    `mx.array`. x is float32, or int32 token ids; y is int32 labels
    0 .. num_classes - 1, float32 targets (n, outputs) for regression, or int32 tokens
    (n, length) for sequences.

    Attributes:
        support_x: (support_size, *input shape); a family may add rows.
        support_y: (support_size,), (support_size, outputs) or (support_size, length).
        query_x: (query_size, *input shape); query_size may be 0.
        query_y: (query_size,) or (query_size, outputs).
    """

    support_x: Array
    support_y: Array
    query_x: Array
    query_y: Array

    def __repr__(self) -> str:
        shapes = ", ".join(
            f"{name} {tuple(part.shape)}"
            for name, part in zip(self._fields, self, strict=True)
        )
        return f"Episode({shapes})"


@dataclass(frozen=True, slots=True)
class TaskConfig:
    """One task: a fixed problem from which any number of episodes can be sampled.

    The same `task_id` is the same problem (decision boundary, amplitude, ...) in every
    episode, distribution and process.

    Attributes:
        task_id: Name of the task, and the seed of everything not in `task_params`.
        task_family: The kind of task (`linear_classification`, `omniglot`, ...).
        num_classes: Classes of an episode, or outputs of a regression.
        input_dim: Numbers in one input. Image families have a fixed shape and check
            that it has this many numbers.
        support_size: Examples in the whole support set, balanced over classes up to a
            remainder.
        query_size: Examples in the whole query set, balanced likewise.
        task_params: Settings of the family; an unknown one is an error.
    """

    task_id: str
    task_family: str
    num_classes: int = 2
    input_dim: int = 2
    support_size: int = 5
    query_size: int = 20
    task_params: dict[str, Any] = field(default_factory=dict)


FrozenParams: TypeAlias = tuple[tuple[str, Any], ...]
"""task_params as the key of a cache: (name, value) pairs, lists as tuples."""


def frozen_params(config: TaskConfig) -> FrozenParams:
    """The task_params as a hashable value, which `dict` restores."""
    params = config.task_params
    return tuple((name, _freeze(params[name])) for name in sorted(params))


def _freeze(value: Any) -> Any:
    if hasattr(value, "tolist"):  # a NumPy array or scalar
        value = value.tolist()
    return tuple(map(_freeze, value)) if isinstance(value, list | tuple) else value


class Family(Protocol):
    """A kind of task: samples an episode from a TaskConfig and a generator."""

    name: str
    """Its task_family."""
    regression: bool
    """True: y are float targets and the loss is mean squared error."""
    pooled: bool
    """True: episodes are sampled from data with splits train, val and test."""
    per_class: bool
    """True: `k_shot` counts examples of each class; else of the whole task."""

    def check(self, config: TaskConfig) -> None:
        """Raise ConfigError, listing every problem, if the task is invalid."""
        ...

    def sample(self, config: TaskConfig, rng: np.random.Generator) -> Episode:
        """Sample an episode (NumPy arrays), determined by task and generator."""
        ...

    def input_dim(self, task_params: Mapping[str, Any]) -> int:
        """Numbers in one input, if a configuration does not set it."""
        ...

    def input_shape(self, config: TaskConfig) -> tuple[int, ...]:
        """Shape of one input of the task."""
        ...

    def digests(self, config: TaskConfig) -> dict[str, str]:
        """SHA-256 of each data set of the task, by its name."""
        ...
