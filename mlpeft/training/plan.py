"""Plans a round: its episodes, and their division into shards.

A plan depends only on configuration, seed and position, so a run can resume at any
round.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from mlpeft.seeds import Purpose, generator
from mlpeft.work import Kind, Shard, TaskSpec

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mlpeft.config import RunConfig
    from mlpeft.tasks.build import Tasks, TaskSplits

EVAL_SHARD_SIZE = 10
"""Tasks per validation or test shard; scores do not depend on it."""


def train_shards(
    config: RunConfig, tasks: TaskSplits, iteration: int, *, spare: bool = False
) -> list[Shard]:
    """The shards of one meta-iteration's meta-batch.

    Args:
        config: A resolved configuration (`compute.shard_size` is set).
        tasks: The run's tasks.
        iteration: The meta-iteration, from 0.
        spare: Whether as many shards of further tasks follow.
    """
    size, tasks_a_batch = (
        config.compute.shard_size or 1,
        config.meta_learning.meta_batch_size,
    )
    specs = _sample_specs(
        tasks.train,
        config.run.seed,
        (Purpose.TRAIN, iteration),
        tasks_a_batch * (2 if spare else 1),
    )
    shards = _split(specs[:tasks_a_batch], size, Kind.TRAIN, iteration)
    more = _split(specs[tasks_a_batch:], size, Kind.TRAIN, iteration)
    return shards + [replace(shard, index=len(shards) + shard.index) for shard in more]


def validation_shards(
    config: RunConfig, tasks: TaskSplits, iteration: int
) -> list[Shard]:
    """The shards of a validation: always the same episodes, for a fair comparison."""
    specs = _sample_specs(
        tasks.val,
        config.run.seed,
        (Purpose.VALIDATE, 0),
        config.evaluation.num_val_episodes,
    )
    return _split(specs, EVAL_SHARD_SIZE, Kind.VALIDATE, iteration)


def test_shards(config: RunConfig, tasks: TaskSplits, episodes: int) -> list[Shard]:
    """The shards of a test: the first `episodes` of a fixed, infinite sequence."""
    own = config.evaluation.test_seed
    seed = config.run.seed if own is None else own
    specs = _sample_specs(tasks.test, seed, (Purpose.TEST, 0), episodes)
    return _split(specs, EVAL_SHARD_SIZE, Kind.TEST, 0)


def _sample_specs(
    tasks: Tasks, seed: int, position: tuple[Purpose, int], number: int
) -> list[TaskSpec]:
    purpose, iteration = position
    specs = []
    for index in range(number):
        rng = generator(seed, purpose, iteration, index)
        task_id = tasks.sample_task(rng)
        specs.append(TaskSpec(task_id, int(rng.integers(2**63))))
    return specs


def _split(
    specs: Sequence[TaskSpec], size: int, kind: Kind, iteration: int
) -> list[Shard]:
    return [
        Shard(iteration, index, kind, tuple(specs[first : first + size]))
        for index, first in enumerate(range(0, len(specs), size))
    ]
