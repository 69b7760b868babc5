"""Evaluation and comparison of what was learned."""

import mlx.core as mx
import numpy as np
import pytest

from mlpeft import BaselineComparison, SimpleClassifier, params
from mlpeft.config import RunConfig
from mlpeft.errors import CheckpointError
from mlpeft.evaluation.evaluate import compare, comparison_size, evaluate
from mlpeft.meta.functional import set_params
from mlpeft.models.build import seeded
from mlpeft.params import write_npz
from mlpeft.training.loop import train
from mlpeft.training.trained import load_trained


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run that learned something: 2-way points, a boundary near the origin."""
    tree = {
        "meta_learning": {
            "num_meta_iterations": 200,
            "inner_lr": 0.1,
            "outer_lr": 0.5,
            "eval_interval": 100,
        },
        "task_distribution": {"query_size": 20},
        "model": {"hidden_dim": 16},
        "evaluation": {"num_val_episodes": 20, "num_test_episodes": 100},
        "paths": {"checkpoint_dir": str(tmp_path_factory.mktemp("runs"))},
    }
    return train(RunConfig.from_dict(tree))


def test_a_meta_learned_start_beats_a_fresh_one_on_tasks_never_seen(run):
    table = compare(load_trained(run.run_dir), [5], 100)
    row = table[5]
    assert row.gain - row.gain_ci95 > 0.0
    assert row.gain == pytest.approx(row.meta.acc[-1] - row.tuned.acc[-1], abs=1e-6)
    assert row.meta.episodes == row.fresh.episodes == row.tuned.episodes == 100


def test_the_baseline_that_counts_may_choose_its_own_step_size(run):
    """A fresh start adapts badly with steps that suit a meta-learned one."""
    row = compare(load_trained(run.run_dir), [5], 100)[5]
    assert row.tuned.acc[-1] >= row.fresh.acc[-1]
    assert row.tuned.steps[-1] in row.meta.steps
    assert len(row.tuned.acc) == len(row.tuned.steps)
    assert row.tuned_lr in [0.03, 0.1, pytest.approx(0.3), 1.0, 3.0]


def test_evaluation_repeats_itself_and_scores_theta_before_any_step(run):
    trained = load_trained(run.run_dir)
    first, second = evaluate(trained, 30), evaluate(trained, 30)
    assert first == second
    assert first.steps == (0, 1, 5, 10)
    assert first.acc[-1] > first.acc[0]


def test_more_episodes_begin_with_the_same_ones(run):
    """10 of 20 episodes are the first 10: figures of different lengths compare."""
    trained = load_trained(run.run_dir)
    few, many = evaluate(trained, 10), evaluate(trained, 20)
    assert many.acc_ci95[-1] != few.acc_ci95[-1]
    seen = []
    evaluate(trained, 20, progress=seen.append)
    assert seen == [10, 20]


def test_a_comparison_says_how_far_it_is(run):
    trained = load_trained(run.run_dir)
    seen = []
    compare(trained, [1, 5], 10, progress=seen.append)
    assert seen == sorted(seen)
    assert seen[-1] == comparison_size(trained.config, [1, 5], 10) == 2 * (30 + 100)


def test_overrides_change_the_question_not_the_start(run):
    trained = load_trained(run.run_dir, overrides=["task_distribution.k_shot=1"])
    assert params.digest(trained.meta) == params.digest(load_trained(run.run_dir).meta)
    assert (
        evaluate(trained, 50).acc[-1] < evaluate(load_trained(run.run_dir), 50).acc[-1]
    )


def test_a_run_a_step_and_an_npz_can_be_named(run, tmp_path):
    best = load_trained(run.run_dir)
    step = load_trained(run.run_dir / "steps" / best.path.name)
    file = tmp_path / "theta.npz"
    write_npz(file, best.meta)
    loaded = load_trained(file, run.run_dir / "config.yaml")
    assert (
        params.digest(best.meta)
        == params.digest(step.meta)
        == params.digest(loaded.meta)
    )
    with pytest.raises(FileNotFoundError, match="--config"):
        load_trained(file)


def test_what_is_not_there_is_said_so(run, tmp_path):
    with pytest.raises(FileNotFoundError, match="no checkpoint at"):
        load_trained(tmp_path / "nothing")
    with pytest.raises(CheckpointError, match="no valid checkpoint"):
        load_trained(tmp_path)
    other = load_trained(run.run_dir, overrides=["model.hidden_dim=8"])
    with pytest.raises(ValueError, match=r"has shape \(16,\), expected \(8,\)"):
        evaluate(other, 10)


def episodes(support=4, query=8, number=3):
    rng = np.random.default_rng(0)

    def labelled(size):
        x = rng.normal(size=(size, 2)).astype(np.float32)
        return x, (x[:, 0] > 0).astype(np.int32)

    return [(*labelled(support), *labelled(query)) for _ in range(number)]


def models(run):
    with seeded(5):
        fresh = SimpleClassifier(2, 16, 2)
        learned = SimpleClassifier(2, 16, 2)
    meta = load_trained(run.run_dir).meta
    set_params(learned, {name: mx.array(leaf) for name, leaf in meta.items()})
    return learned, fresh


def test_the_baseline_comparison_has_both_accuracies_for_every_k(run):
    learned, fresh = models(run)
    table = BaselineComparison.compare_few_shot_performance(
        meta_learned_model=learned,
        standard_model=fresh,
        episodes=episodes(),
        k_shots=[1, 4, 8],
    )
    assert list(table) == [1, 4, 8]
    for row in table.values():
        assert {"meta_acc", "baseline_acc", "meta_ci95", "baseline_ci95"} == set(row)
        assert 0 <= row["meta_acc"] <= 1


def test_equal_models_have_equal_scores(run):
    learned, _ = models(run)
    table = BaselineComparison.compare_few_shot_performance(
        learned, learned, episodes(), [4]
    )
    assert table[4]["meta_acc"] == table[4]["baseline_acc"]


def test_a_k_that_leaves_no_query_is_refused(run):
    learned, fresh = models(run)
    with pytest.raises(ValueError, match=r"12 examples.*1 to 11"):
        BaselineComparison.compare_few_shot_performance(
            learned, fresh, episodes(), [12]
        )
    with pytest.raises(ValueError, match="no episodes"):
        BaselineComparison.compare_few_shot_performance(learned, fresh, [], [1])


def test_a_fresh_start_with_learned_step_sizes_is_tuned_through_them(tmp_path):
    """A fresh Meta-SGD has the step size that is tried, not that of the run."""
    tree = {
        "meta_learning": {
            "algorithm": "meta_sgd",
            "num_meta_iterations": 1,
            "inner_lr": 0.01,
            "num_inner_steps": 2,
        },
        "model": {"hidden_dim": 4, "num_layers": 1},
        "evaluation": {"num_val_episodes": 10, "num_inner_steps": 2, "steps": [2]},
        "compute": {"strategy": "loop"},
        "paths": {"checkpoint_dir": str(tmp_path)},
    }
    run = train(RunConfig.from_dict(tree))
    row = compare(load_trained(run.run_dir), [5], 10)[5]
    assert row.tuned_lr == pytest.approx(0.3)
    assert row.tuned.loss[-1] < row.fresh.loss[-1]
