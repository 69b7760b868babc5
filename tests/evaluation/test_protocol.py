"""Figures carry what they were measured under, and methods share their episodes."""

import csv
import io
import math
from types import SimpleNamespace

import mlx.core as mx
import numpy as np
import pytest

from mlpeft.config import RunConfig
from mlpeft.errors import ConfigError
from mlpeft.evaluation.cost import CostMeter
from mlpeft.evaluation.evaluate import evaluate
from mlpeft.evaluation.grid import cell_config, evaluate_grid, grid_csv, grid_table
from mlpeft.evaluation.protocol import (
    ALONE,
    CARRIED,
    FRESH,
    NO_NORM,
    TRANSDUCTIVE,
    batch_norm,
    protocol,
)
from mlpeft.models.losses import CALIBRATION_BINS, calibration_sums
from mlpeft.results import calibration_error
from mlpeft.tasks.build import build_tasks
from mlpeft.training.plan import test_shards as shards_of_test
from mlpeft.training.plan import validation_shards
from mlpeft.training.runner import ShardRunner
from mlpeft.training.trained import Trained

SMALL = {
    "meta_learning": {
        "inner_optimizer": "adam",
        "inner_state": "carry",
        "inner_lr": 0.05,
    },
    "task_distribution": {"num_classes": 4, "k_shot": 2, "query_size": 8},
    "model": {"hidden_dim": 8},
    "evaluation": {"num_inner_steps": 3, "steps": [0, 3]},
}


def started(tmp_path, **sections) -> Trained:
    """A start that has learned nothing, with carried moments."""
    config = RunConfig.from_dict(SMALL).with_changes(**sections)
    meta = ShardRunner.from_config(RunConfig.from_dict(SMALL)).initial_meta()
    file = tmp_path / "theta.npz"
    file.touch()
    return Trained(config, meta, file, 0)


OTHER_METHODS = [
    {"meta_learning": {"algorithm": "fomaml", "inner_lr": 1.0, "meta_batch_size": 9}},
    {"model": {"backbone": "tanh"}, "meta_learning": {"num_inner_steps": 9}},
    {"task_distribution": {"train_k_shot": 7, "train_query_size": 30}},
    {"evaluation": {"num_inner_steps": 50}, "compute": {"strategy": "loop"}},
]


@pytest.mark.parametrize("changes", OTHER_METHODS)
def test_methods_are_scored_on_the_same_episodes(changes):
    first = RunConfig.from_dict(SMALL)
    other = first.with_changes(**changes)
    tasks, others = build_tasks(first), build_tasks(other)
    assert shards_of_test(first, tasks, 20) == shards_of_test(other, others, 20)
    validation = [
        validation_shards(first, tasks, 0),
        validation_shards(other, others, 5),
    ]
    assert [it.tasks for it in validation[0]] == [it.tasks for it in validation[1]]
    spec = shards_of_test(first, tasks, 3)[0].tasks[2]
    pairs = zip(
        tasks.test.episode(spec.task_id, spec.seed),
        others.test.episode(spec.task_id, spec.seed),
        strict=True,
    )
    for left, right in pairs:
        np.testing.assert_array_equal(left, right)


def test_episodes_of_more_examples_are_of_the_same_tasks():
    few, many = (
        RunConfig.from_dict(SMALL).with_changes(
            task_distribution={"k_shot": k, "num_test_tasks": None}
        )
        for k in (1, 5)
    )
    shards = [shards_of_test(it, build_tasks(it), 20) for it in (few, many)]
    assert shards[0] == shards[1]


def test_another_seed_has_other_episodes():
    first = RunConfig.from_dict(SMALL)
    other = first.with_changes(run={"seed": 1})
    tasks = build_tasks(first)
    assert shards_of_test(first, tasks, 5) != shards_of_test(other, tasks, 5)


def test_confidence_is_summed_by_bins():
    """Confidences 0.5, 0.5 and nearly 1; the second is wrong."""
    logits = mx.array([[0.0, 0.0], [0.0, 0.0], [0.0, 50.0]])
    sums = np.array(calibration_sums(logits, mx.array([0, 1, 1])))
    assert sums.shape == (3, CALIBRATION_BINS)
    middle = int(0.5 * CALIBRATION_BINS)
    np.testing.assert_allclose(sums[:, middle], [2, 1, 1], atol=1e-6)
    np.testing.assert_allclose(sums[:, -1], [1, 1, 1], atol=1e-6)
    assert sums.sum() == pytest.approx(7)


def test_the_calibration_error_is_over_all_queries_not_a_mean_of_episodes():
    """One episode too sure by 0.5, one too unsure by 0.5, in one bin: no error."""
    sums = np.zeros((2, 1, 3, 2))
    sums[0, 0, :, 0] = [1, 0.5, 0]
    sums[1, 0, :, 0] = [1, 0.5, 1]
    assert calibration_error(sums).tolist() == [0.0]
    sums[:, 0, :, 1] = [1, 0.9, 0.7]
    assert calibration_error(sums)[0] == pytest.approx(0.4 / 4)


@pytest.mark.parametrize("strategy", ["vmap", "compiled", "loop"])
def test_an_evaluation_has_the_calibration_error_of_its_queries(tmp_path, strategy):
    """Held against the probabilities that the model gives the same queries."""
    trained = started(tmp_path, compute={"strategy": strategy})
    result = evaluate(trained, 12)
    assert result.ece is not None
    assert 0 < result.ece[-1] < 1
    runner = ShardRunner.from_config(trained.config)
    runner.calibrate()
    (first, *_) = shards_of_test(runner.config, runner.tasks, 12)
    update = runner.run(trained.meta, first)
    queries = len(first.tasks) * 8
    assert update.per_task["calibration"].shape == (10, 2, 3, CALIBRATION_BINS)
    assert update.per_task["calibration"][:, 0, 0].sum() == queries
    hits = update.per_task["calibration"][:, :, 2].sum(axis=(0, 2)) / queries
    np.testing.assert_allclose(hits, update.per_task["acc"].mean(axis=0), atol=1e-6)


def test_calibration_may_be_asked_for_after_a_scoring(tmp_path):
    trained = started(tmp_path)
    runner = ShardRunner.from_config(trained.config)
    shard = shards_of_test(runner.config, runner.tasks, 2)[0]
    before = runner.run(trained.meta, shard).per_task
    runner.calibrate()
    after = runner.run(trained.meta, shard).per_task
    assert "calibration" not in before
    assert "calibration" in after
    np.testing.assert_array_equal(before["loss"], after["loss"])


def test_regression_has_no_calibration_error(tmp_path):
    config = RunConfig.from_dict(
        {
            "task_distribution": {"task_families": ["sinusoid"], "num_classes": 1},
            "model": {"hidden_dim": 4},
        }
    )
    meta = ShardRunner.from_config(config).initial_meta()
    (tmp_path / "a.npz").touch()
    result = evaluate(Trained(config, meta, tmp_path / "a.npz", 0), 3)
    assert result.ece is None
    assert "ece" not in result.to_dict()


def test_carried_moments_are_left_out_where_they_are_reset(tmp_path):
    carried = started(tmp_path)
    reset = started(tmp_path, meta_learning={"inner_state": "reset"})
    settings = [
        protocol(ShardRunner.from_config(trained.config))["inner_state"]
        for trained in (carried, reset)
    ]
    assert settings == [CARRIED, FRESH]
    assert evaluate(reset, 5).loss[0] == evaluate(carried, 5).loss[0]


@pytest.mark.parametrize(
    ("uses", "transductive", "named"),
    [(True, True, TRANSDUCTIVE), (True, False, ALONE), (False, True, NO_NORM)],
)
def test_the_batch_norm_of_a_result_is_named(uses, transductive, named):
    config = RunConfig.from_dict({"model": {"transductive": transductive}})
    runner = SimpleNamespace(config=config, uses_batch_statistics=uses)
    assert batch_norm(runner) == named


def test_a_grid_keeps_the_queries_of_a_class_and_the_outputs_of_the_model(tmp_path):
    trained = started(tmp_path)
    cells = evaluate_grid(trained, [2, 4], [1, 5], 4)
    sizes = [(c.settings["num_classes"], c.settings["query_size"]) for c in cells]
    assert sizes == [(2, 4), (2, 4), (4, 8), (4, 8)]
    assert [c.settings["k_shot"] for c in cells] == [1, 5, 1, 5]
    assert len(list(csv.DictReader(io.StringIO(grid_csv(cells))))) == 4
    table = grid_table(cells)
    assert [column.header for column in table.columns] == [
        "classes",
        "1-shot",
        "5-shot",
    ]
    assert list(table.columns[0].cells) == ["2", "4"]
    alone = evaluate(trained, 4)
    same = trained.config.task_distribution.k_shot
    (cell,) = evaluate_grid(trained, [4], [same], 4)
    assert cell.result == alone


def test_more_classes_than_outputs_are_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"--num-classes 5: .*at most 4"):
        evaluate_grid(started(tmp_path), [5], [1], 2)


def test_training_keys_of_a_cell_do_not_ask_for_more_than_there_is():
    config = cell_config(RunConfig.from_dict(SMALL), 2, 50)
    assert config.task_distribution.train_k_shot == 2
    assert config.task_distribution.k_shot == 50


def test_the_cost_is_the_median_of_groups_without_the_first():
    """Groups of 10 episodes after 30, 5, 4 and 9 seconds: the first compiles."""
    times = iter([0.0, 30.0, 35.0, 39.0, 48.0])
    seen = []
    meter = CostMeter(seen.append, lambda: next(times))
    for done in (10, 20, 30, 40):
        meter(done)
    assert meter.seconds == pytest.approx(0.5)
    assert seen == [10, 20, 30, 40]
    assert meter.peak_bytes >= 0


def test_a_single_group_has_no_time_to_adapt():
    meter = CostMeter()
    meter(3)
    assert meter.seconds is None
    assert not math.isnan(meter.peak_bytes)
