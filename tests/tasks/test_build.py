"""Building the tasks of a run."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from mlpeft.config import RunConfig
from mlpeft.errors import ConfigError, DataError
from mlpeft.tasks.build import build_tasks, k_is_per_class
from mlpeft.tasks.distribution import TaskDistribution
from mlpeft.tasks.fresh import FreshTasks


def build(allow_modules=None, **section):
    return build_tasks(
        RunConfig.from_dict({"task_distribution": section}), allow_modules
    )


def sizes(tasks):
    episode = tasks.episode(tasks.sample_task(np.random.default_rng(0)), 0)
    return tuple(len(array) for array in episode)


def test_the_default_configuration_is_a_fixed_set_of_linear_tasks():
    tasks = build()
    assert [len(part) for part in (tasks.train, tasks.val, tasks.test)] == [
        100,
        20,
        100,
    ]
    assert tasks.input_shape == (2,)
    assert tasks.num_outputs == 2
    assert not tasks.regression
    assert tasks.digests() == {}
    assert sizes(tasks.train) == sizes(tasks.val) == (5, 5, 50, 50)


def test_the_splits_share_no_task():
    tasks = build()
    ids = [c.task_id for part in (tasks.train, tasks.val, tasks.test) for c in part]
    assert len(set(ids)) == 220


def test_tasks_use_the_families_in_turn():
    families = ["linear_classification", "nonlinear_classification"]
    tasks = build(task_families=families, num_train_tasks=4)
    assert [c.task_family for c in tasks.train] == families * 2


def test_null_tasks_are_new_for_every_episode():
    tasks = build(num_train_tasks=None, num_val_tasks=5)
    assert isinstance(tasks.train, FreshTasks)
    assert isinstance(tasks.val, TaskDistribution)
    rng = np.random.default_rng(0)
    ids = {tasks.train.sample_task(rng) for _ in range(100)}
    assert len(ids) == 100
    # Another process builds the same tasks from the same configuration.
    elsewhere = build(num_train_tasks=None, num_val_tasks=5)
    for task_id in ids:
        np.testing.assert_array_equal(
            tasks.train.episode(task_id, 1).support_x,
            elsewhere.train.episode(task_id, 1).support_x,
        )


def test_the_runs_seed_does_not_change_what_a_task_is():
    section = {"num_train_tasks": 3}
    one, two = (
        build_tasks(
            RunConfig.from_dict({"run": {"seed": s}, "task_distribution": section})
        )
        for s in (0, 1)
    )
    assert one.train.configs == two.train.configs


def test_k_shot_is_per_class_for_class_pools_and_in_all_for_synthetic_tasks():
    pytest.importorskip("sklearn")
    pooled = build(task_families=["digits"], num_classes=5, k_shot=3, query_size=10)
    assert sizes(pooled.test) == (15, 15, 10, 10)
    synthetic = build(num_classes=5, k_shot=3, query_size=10)
    assert sizes(synthetic.test) == (3, 3, 10, 10)


def test_training_can_have_other_sizes():
    pytest.importorskip("sklearn")
    tasks = build(
        task_families=["digits"],
        num_classes=5,
        k_shot=1,
        query_size=5,
        train_k_shot=10,
        train_query_size=0,
    )
    assert sizes(tasks.train) == (50, 50, 0, 0)
    assert sizes(tasks.val) == (5, 5, 5, 5)


@pytest.mark.parametrize("count", [None, 100])
def test_training_may_take_several_numbers_of_examples(count):
    pytest.importorskip("sklearn")
    tasks = build(
        task_families=["digits"],
        num_classes=2,
        k_shot=1,
        query_size=4,
        train_k_shot=[1, 3, 5],
        num_train_tasks=count,
    )
    rng = np.random.default_rng(0)
    drawn = [tasks.train.sample_task(rng) for _ in range(300)]
    found = Counter(tasks.train.config(task_id).support_size for task_id in drawn)
    assert found.keys() == {2, 6, 10}
    assert min(found.values()) > 70
    assert sizes(tasks.test)[0] == 2


def test_every_value_of_k_shot_needs_enough_examples():
    pytest.importorskip("sklearn")
    with pytest.raises(ConfigError, match="need 1000 \\+ "):
        build(task_families=["digits"], k_shot=1, train_k_shot=[1, 1000])


def test_training_may_have_more_classes_than_are_tested():
    pytest.importorskip("sklearn")
    tasks = build(
        task_families=["digits"],
        num_classes=2,
        k_shot=3,
        query_size=4,
        train_num_classes=5,
    )
    assert sizes(tasks.train) == (15, 15, 4, 4)
    assert sizes(tasks.test) == (6, 6, 4, 4)
    assert tasks.num_outputs == 5


def test_digits_tasks_know_their_shape_splits_and_digest():
    pytest.importorskip("sklearn")
    tasks = build(task_families=["digits"], num_classes=5, k_shot=1)
    assert tasks.input_shape == (8, 8, 1)
    assert tasks.num_outputs == 5
    assert list(tasks.digests()) == ["digits"]
    assert [p.configs[0].task_params for p in (tasks.train, tasks.val, tasks.test)] == [
        {"split": "train"},
        {"split": "val"},
        {"split": "test"},
    ]


@pytest.mark.data
def test_omniglot_tasks_know_their_shape_and_digest(data_dir, monkeypatch):
    monkeypatch.setenv("MLPEFT_DATA_DIR", str(data_dir))
    tasks = build(task_families=["omniglot"], num_classes=20, k_shot=1, query_size=20)
    assert tasks.input_shape == (28, 28, 1)
    assert list(tasks.digests()) == ["omniglot.npz"]
    assert sizes(tasks.train) == (20, 20, 20, 20)


def test_sinusoid_is_regression_with_as_many_outputs_as_classes():
    tasks = build(task_families=["sinusoid"], num_classes=3)
    assert tasks.regression
    assert tasks.num_outputs == 3
    assert tasks.input_shape == (1,)


def test_a_configured_input_dim_takes_precedence():
    assert build(input_dim=7).input_shape == (7,)


def test_task_params_reach_every_task():
    tasks = build(task_params={"noise": 0.5}, num_val_tasks=None)
    assert tasks.train.configs[5].task_params == {"noise": 0.5}
    assert tasks.val.configs[0].task_params == {"noise": 0.5}


def test_all_problems_are_reported_at_once_and_once_each():
    pytest.importorskip("sklearn")
    with pytest.raises(ConfigError) as caught:
        build(
            task_families=["digits", "sinusoid"],
            num_classes=12,
            input_dim=3,
            task_params={"split": "train", "rotation": 1},
        )
    text = str(caught.value)
    assert len(caught.value.problems) == len(set(caught.value.problems)) == 5
    assert "task_params.split: a run uses all splits; remove it" in text
    assert (
        "did you mean 'rotations'? (digits, train; digits, val; digits, test)" in text
    )
    assert "digits [8, 8, 1], sinusoid [3] regression" in text


def test_families_that_do_not_fit_one_model_are_refused():
    with pytest.raises(ConfigError, match="share a model"):
        build(task_families=["linear_classification", "sinusoid"], input_dim=2)


def test_all_unknown_families_are_reported():
    with pytest.raises(ConfigError) as caught:
        build(task_families=["omniglt", "digts"])
    assert [p.partition(";")[2] for p in caught.value.problems] == [
        " did you mean 'omniglot'?",
        " did you mean 'digits'?",
    ]


def test_missing_data_says_what_to_run(tmp_path, monkeypatch):
    monkeypatch.setattr("mlpeft.datasets.folders._CHECKOUT", tmp_path / "checkout")
    monkeypatch.setenv("MLPEFT_DATA_DIR", str(tmp_path))
    with pytest.raises(DataError, match="mlpeft data fetch omniglot"):
        build_tasks(
            RunConfig.from_dict(
                {
                    "task_distribution": {"task_families": ["omniglot"]},
                    "paths": {"data_dir": str(tmp_path / "none")},
                }
            )
        )


@pytest.mark.parametrize(
    ("families", "per_class"),
    [
        (["digits"], True),
        (["linear_classification"], False),
        (["sinusoid"], False),
        (["completions"], False),
    ],
)
def test_k_counts_as_the_families_do(families, per_class):
    config = RunConfig.from_dict({"task_distribution": {"task_families": families}})
    assert k_is_per_class(config.task_distribution) is per_class
