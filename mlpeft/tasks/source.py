"""What every source of tasks can do: choose a task, draw an episode of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from mlpeft import seeds
from mlpeft.seeds import Purpose

if TYPE_CHECKING:
    import numpy as np

    from mlpeft.params import Array
    from mlpeft.tasks.episode import Episode, TaskConfig


class TaskSource(Protocol):
    """Tasks to draw from: a fixed set, or a new one for every episode.

    `choose` and `episode` are all that training needs; both are pure, so that a task is
    named by (task_id, seed) on the wire and drawn by whoever computes it.
    """

    def choose(self, rng: np.random.Generator) -> str:
        """A task_id, chosen by this generator alone."""
        ...

    def config(self, task_id: str) -> TaskConfig:
        """The task of this id.

        Raises:
            TaskSamplingError: If it is not one of this source.
        """
        ...

    def episode(self, task_id: str, seed: int) -> Episode:
        """The episode of a task that a seed fixes; NumPy arrays.

        Raises:
            TaskSamplingError: If the task is not one of this source.
        """
        ...


def episode_generator(seed: int) -> np.random.Generator:
    """The generator that an episode with this seed is drawn from."""
    return seeds.generator(seed, Purpose.SAMPLE)


Sample = tuple["TaskConfig", "Array", "Array", "Array", "Array"]
"""A task and its support_x, support_y, query_x, query_y, as `mx.array`."""


def sample(
    source: TaskSource, seed: int, number: int, task_id: str | None = None
) -> Sample:
    """Episode `number` of the stream that a seed fixes, for use with MLX.

    Args:
        source: Where the task comes from.
        seed: Names the stream.
        number: Position in the stream, from 0.
        task_id: Draw from this task; None: from a task chosen at random.

    Raises:
        TaskSamplingError: If the task is not one of the source.
    """
    import mlx.core as mx

    rng = seeds.generator(seed, Purpose.TASK, number)
    chosen = source.choose(rng) if task_id is None else task_id
    config = source.config(chosen)
    episode = source.episode(chosen, seeds.seed_word(seed, Purpose.SAMPLE, number))
    support_x, support_y, query_x, query_y = map(mx.array, episode)
    return config, support_x, support_y, query_x, query_y
