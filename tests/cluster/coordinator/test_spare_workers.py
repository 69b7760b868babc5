"""More workers than shards: it is told once, with the key that changes it."""

import re

import pytest

from mlpeft.cluster.coordinator.spare_workers import spare_workers
from mlpeft.work import Kind, Shard, TaskSpec


def shards(number, tasks, kind=Kind.TRAIN):
    specs = tuple(TaskSpec(f"t{i}", i) for i in range(tasks))
    return [Shard(0, index, kind, specs) for index in range(number)]


@pytest.mark.parametrize(
    ("workers", "opened", "told"),
    [
        (
            2,
            shards(1, 4),
            "1 of 2 workers has .* 1 shard of 4 tasks; .*shard_size to 2$",
        ),
        (6, shards(4, 1), "2 of 6 workers have .* 4 shards of 1 task; .*size to 6$"),
        (
            6,
            shards(1, 4),
            "shard_size to 1 and raise meta_learning.meta_batch_size to 6",
        ),
    ],
)
def test_it_names_the_key_to_change(workers, opened, told):
    assert re.search(told, spare_workers(workers, opened))


def test_enough_shards_and_validations_are_left_alone():
    assert spare_workers(4, shards(4, 1)) == ""
    assert spare_workers(9, shards(5, 10, Kind.VALIDATE)) == ""
