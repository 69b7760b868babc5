"""A shard tells how far it is, and can be dropped between tasks."""

import pytest

from mlpeft.config import RunConfig
from mlpeft.training import plan
from mlpeft.training.runner import ShardRunner

TASKS = 3


class DroppedError(Exception):
    """As a worker's computing thread raises it."""


def runner(strategy):
    return ShardRunner.from_config(
        RunConfig.from_dict(
            {
                "meta_learning": {"meta_batch_size": TASKS, "num_inner_steps": 2},
                "task_distribution": {"num_train_tasks": 4, "num_val_tasks": 4},
                "model": {"backbone": "linear", "hidden_dim": 8, "num_layers": 1},
                "evaluation": {"num_val_episodes": TASKS, "num_inner_steps": 2},
                "compute": {"strategy": strategy, "shard_size": TASKS},
            }
        )
    )


def shard_of(made, kind):
    shards = plan.train_shards if kind == "train" else plan.validation_shards
    return shards(made.config, made.tasks, 0)[0]


def same_bits(update, other):
    for mine, theirs in (
        (update.total, other.total),
        (update.per_task, other.per_task),
    ):
        assert mine.keys() == theirs.keys()
        for name, leaf in mine.items():
            assert leaf.tobytes() == theirs[name].tobytes()


@pytest.mark.parametrize("kind", ["train", "validate"])
@pytest.mark.parametrize(
    ("strategy", "told"),
    [("loop", [1, 2, 3]), ("compiled", [1, 2, 3]), ("vmap", [3])],
)
def test_progress_is_told_after_each_task_and_under_vmap_once(strategy, told, kind):
    made = runner(strategy)
    meta, shard = made.initial_meta(), shard_of(made, kind)
    heard = []
    update = made.run(meta, shard, heard.append)
    assert heard == told
    same_bits(update, made.run(meta, shard))


@pytest.mark.parametrize("kind", ["train", "validate"])
@pytest.mark.parametrize("strategy", ["loop", "compiled"])
def test_a_shard_that_is_dropped_between_tasks_leaves_nothing_behind(strategy, kind):
    made = runner(strategy)
    meta, shard = made.initial_meta(), shard_of(made, kind)
    heard = []

    def drop(tasks_done):
        heard.append(tasks_done)
        if tasks_done == 2:
            raise DroppedError

    with pytest.raises(DroppedError):
        made.run(meta, shard, drop)
    assert heard == [1, 2]
    same_bits(made.run(meta, shard), runner(strategy).run(meta, shard))
