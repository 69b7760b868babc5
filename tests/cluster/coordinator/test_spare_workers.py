"""More workers than shards: it is told once, with the key that changes it."""

import re

import numpy as np
import pytest

from mlpeft.cluster.coordinator.machine import CoordinatorMachine
from mlpeft.cluster.coordinator.messages import RoundOpened, WorkerJoined
from mlpeft.cluster.coordinator.spare_workers import spare_workers
from mlpeft.cluster.messages import Announce
from mlpeft.cluster.protocol import WorkerId
from mlpeft.work import Kind, Shard, TaskSpec
from tests.cluster.builders import policy_with


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


def test_it_is_announced_once_and_stands_in_the_status():
    state = CoordinatorMachine("s", policy_with())
    state.handle(joined("1"), 0.0)
    told = state.handle(opened(shards(1, 4)), 0.0)
    for number in "234":
        told += state.handle(joined(number), 0.0)
    (announced,) = (
        each.text
        for each in told
        if isinstance(each, Announce) and "nothing to do" in each.text
    )
    assert announced.startswith("1 of 2 workers")
    assert "3 of 4 workers have nothing to do" in state.status(0.0).wait


def joined(number):
    return WorkerJoined(WorkerId(number), f"w{number}", f"p{number}", number, 1, "cpu")


def opened(of):
    return RoundOpened(0, tuple(of), {"a": np.zeros(2, np.float32)}, frozenset())
