"""TaskDistribution: the user's guide, purity, splitting, and what is refused."""

from __future__ import annotations

import mlx.core as mx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlpeft.errors import ConfigError, TaskSamplingError
from mlpeft.tasks.distribution import TaskDistribution
from mlpeft.tasks.episode import TaskConfig


def configs(count=20, **changed):
    fields = {
        "task_family": "linear_classification",
        "num_classes": 2,
        "input_dim": 2,
        "support_size": 5,
        "query_size": 20,
    } | changed
    return [TaskConfig(task_id=f"task_{i}", **fields) for i in range(count)]


def same(one, two):
    return all(np.array_equal(a, b) for a, b in zip(one, two, strict=True))


def test_a_sampled_episode_is_the_config_and_four_mlx_arrays():
    dist = TaskDistribution(configs(), seed=42)
    config, support_x, support_y, query_x, query_y = dist.sample_episode()
    assert config in dist.configs
    assert all(
        isinstance(a, mx.array) for a in (support_x, support_y, query_x, query_y)
    )
    assert (support_x.shape, support_x.dtype) == ((5, 2), mx.float32)
    assert (support_y.shape, support_y.dtype) == ((5,), mx.int32)
    assert (query_x.shape, query_x.dtype) == ((20, 2), mx.float32)
    assert (query_y.shape, query_y.dtype) == ((20,), mx.int32)


def test_regression_targets_are_float32():
    dist = TaskDistribution(configs(2, task_family="sinusoid", num_classes=3))
    _, _, support_y, *_ = dist.sample_episode()
    assert (support_y.shape, support_y.dtype) == ((5, 3), mx.float32)


def test_the_seed_fixes_the_stream_of_episodes():
    one, two = (TaskDistribution(configs(), seed=7) for _ in range(2))
    other = TaskDistribution(configs(), seed=8)
    stream = [one.sample_episode() for _ in range(10)]
    again = [two.sample_episode() for _ in range(10)]
    others = [other.sample_episode() for _ in range(10)]
    assert all(
        a[0] is not None and a[0] == b[0] and same(a[1:], b[1:])
        for a, b in zip(stream, again, strict=True)
    )
    assert not any(same(a[1:], b[1:]) for a, b in zip(stream, others, strict=True))


def test_no_global_generator_is_read_or_changed():
    np.random.seed(0)  # noqa: NPY002 - it is the one that must not matter
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    TaskDistribution(configs()).sample_episode()
    np.testing.assert_array_equal(np.random.get_state()[1], before)  # noqa: NPY002


def test_every_task_is_sampled():
    dist = TaskDistribution(configs(5))
    ids = {dist.sample_episode()[0].task_id for _ in range(100)}
    assert ids == {config.task_id for config in dist}


def test_an_episode_of_a_named_task_is_of_that_task():
    dist = TaskDistribution(configs())
    assert dist.sample_episode("task_3")[0].task_id == "task_3"
    first, second = (dist.sample_episode("task_3")[1:] for _ in range(2))
    assert not same(first, second)


@given(seed=st.integers(0, 2**64 - 1), number=st.integers(0, 19))
@settings(max_examples=50, deadline=None)
def test_episode_is_pure(seed, number):
    """The same (task_id, seed) is the same episode, whatever was drawn before, and in
    whatever distribution the task is."""
    dist = TaskDistribution(configs(), seed=1)
    elsewhere = TaskDistribution(configs()[number:], seed=2)
    first = dist.episode(f"task_{number}", seed)
    dist.sample_episode()
    assert same(first, dist.episode(f"task_{number}", seed))
    assert same(first, elsewhere.episode(f"task_{number}", seed))
    assert not same(first, dist.episode(f"task_{number}", seed ^ 1))


def test_sample_task_depends_on_the_generator_alone():
    dist = TaskDistribution(configs())
    chosen = [dist.sample_task(np.random.default_rng(n)) for n in range(50)]
    assert chosen == [dist.sample_task(np.random.default_rng(n)) for n in range(50)]
    assert len(set(chosen)) > 10


def test_an_unknown_task_names_the_nearest():
    dist = TaskDistribution(configs())
    for ask in (dist.sample_episode, dist.config, lambda i: dist.episode(i, 0)):
        with pytest.raises(TaskSamplingError, match="did you mean 'task_3'"):
            ask("tsk_3")


def test_an_unknown_task_of_many_has_a_short_message():
    dist = TaskDistribution(configs(1000))
    with pytest.raises(TaskSamplingError, match="'task_0' to 'task_999'") as caught:
        dist.config("omniglot/1")
    assert len(str(caught.value)) < 200


def test_length_iteration_and_configs_agree():
    given_configs = configs(3)
    dist = TaskDistribution(iter(given_configs))
    assert len(dist) == 3
    assert list(dist) == list(dist.configs) == given_configs
    assert "3 tasks of linear_classification" in repr(dist)


def test_task_ids_given_twice_are_refused():
    with pytest.raises(ConfigError, match="'task_1' is given more than once"):
        TaskDistribution([*configs(3), configs(2)[1]])


def test_a_distribution_of_no_tasks_is_refused():
    with pytest.raises(ConfigError, match="at least one task, got none"):
        TaskDistribution([])


def test_a_problem_of_many_tasks_is_reported_once():
    wrong = configs(50, task_params={"rotation": 1})
    other = TaskConfig("other", "linear_classification", num_classes=0)
    with pytest.raises(ConfigError) as caught:
        TaskDistribution([*wrong, other])
    first, second = caught.value.problems
    assert first.startswith("task 'task_0' and 49 more: task_params.rotation")
    assert second == "task 'other': num_classes: expected at least 2, got 0"


def test_very_many_problems_are_cut_short():
    wrong = [
        TaskConfig(str(number), "linear_classification", num_classes=-number)
        for number in range(100)
    ]
    with pytest.raises(ConfigError) as caught:
        TaskDistribution(wrong)
    assert len(caught.value.problems) == 21
    assert caught.value.problems[-1] == "and 80 more like these"


@given(count=st.integers(2, 60), ratio=st.floats(0.01, 0.99), seed=st.integers(0, 9))
@settings(max_examples=50, deadline=None)
def test_splitting_gives_every_task_to_one_part(count, ratio, seed):
    dist = TaskDistribution(configs(count), seed=seed)
    train, val = dist.split_tasks(train_ratio=ratio)
    ids = [{config.task_id for config in part} for part in (train, val)]
    assert ids[0] | ids[1] == {config.task_id for config in dist}
    assert not ids[0] & ids[1]
    assert min(map(len, ids)) >= 1
    assert abs(len(train) - ratio * count) <= 1
    again = dist.split_tasks(train_ratio=ratio)
    assert [part.configs for part in again] == [train.configs, val.configs]


def test_the_parts_of_a_split_do_not_sample_the_same_episodes():
    """Were both to go on with the stream of the whole, their inputs would be alike."""
    params = {"rotation_angle": 0.0, "translation": 0.0}
    train, val = TaskDistribution(configs(task_params=params)).split_tasks(0.5)
    pairs = [(train.sample_episode()[1], val.sample_episode()[1]) for _ in range(5)]
    assert not any(np.array_equal(a, b) for a, b in pairs)


def test_splitting_does_not_change_the_distribution():
    dist, other = (TaskDistribution(configs(), seed=3) for _ in range(2))
    dist.split_tasks(0.8)
    assert len(dist) == 20
    assert same(dist.sample_episode()[1:], other.sample_episode()[1:])


@pytest.mark.parametrize("ratio", [0.0, 1.0, -1, 80])
def test_a_ratio_that_is_no_share_is_refused(ratio):
    with pytest.raises(ConfigError, match="train_ratio: expected a share"):
        TaskDistribution(configs()).split_tasks(ratio)


def test_one_task_cannot_be_split():
    with pytest.raises(ConfigError, match="one task cannot be split"):
        TaskDistribution(configs(1)).split_tasks(0.5)


def test_tasks_of_several_families_and_sizes_go_together():
    mixed = [
        *configs(2),
        TaskConfig("wave", "sinusoid", 1, 1, 10, 10),
        TaskConfig("ten", "nonlinear_classification", 3, 10, 10, 30),
    ]
    dist = TaskDistribution(mixed)
    assert dist.sample_episode("ten")[1].shape == (10, 10)
    assert dist.sample_episode("wave")[2].shape == (10, 1)


def test_an_episode_may_have_no_queries():
    dist = TaskDistribution(configs(2, query_size=0))
    *_, query_x, query_y = dist.sample_episode()
    assert query_x.shape == (0, 2)
    assert query_y.shape == (0,)


@pytest.mark.parametrize("seed", [-1, 0.5, None, "1"])
def test_a_seed_that_is_no_integer_is_refused(seed):
    with pytest.raises(ConfigError, match="seed: expected an integer from 0"):
        TaskDistribution(configs(1), seed=seed)


def test_a_numpy_seed_is_as_good_as_a_python_one(tmp_path):
    dist = TaskDistribution(configs(2), seed=np.int64(3))
    dist.save(tmp_path / "t.json")
    assert TaskDistribution.load(tmp_path / "t.json").seed == 3
