"""The interface of a source of tasks: sample a task, then an episode of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from mlpeft import seeds
from mlpeft.seeds import Purpose

if TYPE_CHECKING:
    import numpy as np

    from mlpeft.params import Array
    from mlpeft.tasks.episode import Episode, TaskConfig


class TaskSource(Protocol):
    """A source of tasks: a fixed set, or a new task for every episode.

    Training needs only `sample_task` and `episode`. Both are pure, so the message for a
    worker is (task_id, seed), from which the worker samples the episode itself.
    """

    def sample_task(self, rng: np.random.Generator) -> str:
        """A task_id, determined by this generator."""
        ...

    def config(self, task_id: str) -> TaskConfig:
        """The task with this id.

        Raises:
            TaskSamplingError: If it is not one of this source.
        """
        ...

    def episode(self, task_id: str, seed: int) -> Episode:
        """The episode determined by task and seed; NumPy arrays.

        Raises:
            TaskSamplingError: If the task is not one of this source.
        """
        ...


def episode_generator(seed: int) -> np.random.Generator:
    """The generator of an episode with this seed."""
    return seeds.generator(seed, Purpose.SAMPLE)


Sample = tuple["TaskConfig", "Array", "Array", "Array", "Array"]
"""A task and its support_x, support_y, query_x, query_y, as `mx.array`."""


def sample(
    source: TaskSource, seed: int, number: int, task_id: str | None = None
) -> Sample:
    """Episode `number` of the stream that a seed determines, as MLX arrays.

    Args:
        source: The source of the task.
        seed: The stream's seed.
        number: Position in the stream, from 0.
        task_id: The task to sample from; None: a random one.

    Raises:
        TaskSamplingError: If the task is not one of the source.
    """
    import mlx.core as mx

    rng = seeds.generator(seed, Purpose.TASK, number)
    task_id = source.sample_task(rng) if task_id is None else task_id
    config = source.config(task_id)
    episode = source.episode(task_id, seeds.seed_word(seed, Purpose.SAMPLE, number))
    support_x, support_y, query_x, query_y = map(mx.array, episode)
    return config, support_x, support_y, query_x, query_y
