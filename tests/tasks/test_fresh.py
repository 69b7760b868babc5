"""An endless supply of tasks: a new one for every episode."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlpeft.errors import ConfigError, TaskSamplingError
from mlpeft.tasks.episode import TaskConfig
from mlpeft.tasks.fresh import FreshTasks


@pytest.fixture(scope="module")
def fresh():
    return FreshTasks(
        [
            TaskConfig("train/linear", "linear_classification"),
            TaskConfig("train/nonlinear", "nonlinear_classification"),
        ]
    )


def test_every_choice_is_a_new_task_of_one_of_the_kinds(fresh):
    rng = np.random.default_rng(0)
    ids = [fresh.sample_task(rng) for _ in range(1000)]
    assert len(set(ids)) == 1000
    kinds = [fresh.config(task_id).task_family for task_id in ids]
    assert 400 < kinds.count("linear_classification") < 600


@given(seed=st.integers(0, 2**64 - 1), choice=st.integers(0, 2**32))
@settings(max_examples=50, deadline=None)
def test_an_id_names_the_same_episode_everywhere(seed, choice):
    def source():
        return FreshTasks([TaskConfig("train/sinusoid", "sinusoid", 1, 1)])

    task_id = source().sample_task(np.random.default_rng(choice))
    one, two = (source().episode(task_id, seed) for _ in range(2))
    for a, b in zip(one, two, strict=True):
        np.testing.assert_array_equal(a, b)


def test_different_ids_are_different_tasks(fresh):
    rng = np.random.default_rng(0)
    ids = [fresh.sample_task(rng) for _ in range(20)]
    assert len({fresh.episode(task_id, 0).query_x.tobytes() for task_id in ids}) == 20


@pytest.mark.parametrize(
    "task_id",
    [
        "",
        "train/linear",
        "train/linear/",
        "train/linear/0",
        "train/linear/0123456789abcdeg",
        "train/linear/0123456789ABCDEF",
        "train/linear/0123456789abcdef0",
        "test/linear/0123456789abcdef",
        "train/linear/0123456789abcdef\n",
    ],
)
def test_an_id_that_choose_did_not_make_is_refused(fresh, task_id):
    with pytest.raises(TaskSamplingError, match="new for every episode"):
        fresh.episode(task_id, 0)


def test_a_stream_of_episodes_can_be_sampled(fresh):
    config, support_x, *_ = fresh.sample_episode()
    assert support_x.shape == (5, 2)
    assert fresh.sample_episode()[0].task_id != config.task_id
    named = fresh.sample_episode("train/linear/0123456789abcdef")[0]
    assert named.task_family == "linear_classification"


def test_invalid_templates_are_refused():
    with pytest.raises(ConfigError) as caught:
        FreshTasks(
            [
                TaskConfig("a", "sinusoid", num_classes=0),
                TaskConfig("b", "linear_classification", input_dim=0),
            ]
        )
    assert len(caught.value.problems) == 2
