"""Queries are scored by a head that is fitted to the support set."""

import numpy as np
import pytest

from mlpeft.config import RunConfig
from mlpeft.errors import ConfigError
from mlpeft.evaluation.evaluate import compare, comparison_size, evaluate
from mlpeft.evaluation.pairs import episodes_digest
from mlpeft.evaluation.protocol import protocol, sentence
from mlpeft.heads.auto import fit_head
from mlpeft.heads.examples import Examples
from mlpeft.meta.head_scoring import HeadScorer
from mlpeft.tasks.episode import Episode
from mlpeft.training.plan import validation_shards
from mlpeft.training.runner import ShardRunner, result_schema
from mlpeft.training.trained import Trained
from mlpeft.work import Kind

TREE = {
    "task_distribution": {"num_classes": 3, "k_shot": 4, "query_size": 30},
    "model": {"hidden_dim": 32},
    "evaluation": {"num_val_episodes": 4, "num_test_episodes": 20},
}


def run_with(head: str, tmp_path, **sections) -> Trained:
    config = RunConfig.from_dict(TREE | sections)
    config = config.with_changes(evaluation={"head": head})
    meta = ShardRunner.from_config(config).initial_meta()
    file = tmp_path / "theta.npz"
    file.touch()
    return Trained(config, meta, file, 0)


@pytest.mark.parametrize("head", ["prototype", "ridge", "logistic", "mean", "auto"])
def test_every_head_is_better_than_chance_without_an_inner_step(head, tmp_path):
    result = evaluate(run_with(head, tmp_path))
    assert result.steps == (0,)
    assert result.acc[0] - result.acc_ci95[0] > 1 / 3
    assert result.ece[0] < 0.25


def test_heads_are_asked_the_same_and_say_which_they_are(tmp_path):
    one, other = (run_with(head, tmp_path).config for head in ("ridge", "inner_steps"))
    one, other = ShardRunner.from_config(one), ShardRunner.from_config(other)
    assert episodes_digest(one, 5) == episodes_digest(other, 5)
    assert protocol(one)["head"] == "ridge"
    assert protocol(other)["head"] == "inner_steps"
    assert "Head: ridge" in sentence(protocol(one))
    assert "Head" not in sentence(protocol(other))


def test_a_cluster_s_results_have_the_shapes_it_expects(tmp_path):
    trained = run_with("ridge", tmp_path)
    runner = ShardRunner.from_config(trained.config)
    (shard, *_) = validation_shards(runner.config, runner.tasks, 0)
    update = runner.run(trained.meta, shard)
    expected = result_schema(runner.config).of(Kind.VALIDATE)
    assert {name: leaf.shape[1:] for name, leaf in update.per_task.items()} == {
        name: leaf.shape for name, leaf in expected.items()
    }


def test_a_comparison_of_heads_has_no_step_size_to_tune(tmp_path):
    trained = run_with("ridge", tmp_path)
    seen = []
    row = compare(trained, [4], 5, progress=seen.append)[4]
    assert seen[-1] == comparison_size(trained.config, [4], 5) == 15 + 4
    assert row.tuned == row.fresh
    assert row.gain == pytest.approx(row.meta.acc[0] - row.fresh.acc[0], abs=1e-6)


def test_names_of_classes_are_never_held_out(tmp_path):
    trained = run_with("ridge", tmp_path)
    runner = ShardRunner.from_config(trained.config)
    meta, functional = (
        runner._engines.engine._as_mlx(trained.meta)[0],
        runner._engines.engine._functional,
    )
    x = np.random.default_rng(0).normal(size=(9, 2)).astype(np.float32)
    y = np.array([0, 1, 2] * 3, np.int32)
    episode = Episode(x, y, x[:3], y[:3])
    scorer = HeadScorer(functional, "ridge", transductive=True, label_names=True)
    support, query = scorer._embeddings(meta, {}, episode)
    by_hand = fit_head(Examples.of(support, y, 3, names=3), "ridge")
    assert sorted(by_hand.rows) == list(range(6))
    np.testing.assert_array_equal(
        scorer._logits(meta, {}, episode), by_hand.head(query)
    )


def test_queries_put_alone_do_not_see_each_other(tmp_path):
    """With batch statistics, one query more changes no other's answer."""
    sections = {
        "task_distribution": {
            "task_families": ["digits"],
            "num_classes": 2,
            "k_shot": 2,
            "query_size": 4,
        },
        "model": {"backbone": "conv4", "transductive": False},
    }
    trained = run_with("prototype", tmp_path, **sections)
    runner = ShardRunner.from_config(trained.config)
    (shard, *_) = validation_shards(runner.config, runner.tasks, 0)
    spec = shard.tasks[0]
    episode = runner.tasks.val.episode(spec.task_id, spec.seed)
    fewer = episode._replace(query_x=episode.query_x[:2], query_y=episode.query_y[:2])
    scorer, meta = (
        runner._engines.engine._scorer,
        runner._engines.engine._as_mlx(trained.meta)[0],
    )
    few, many = (scorer._logits(meta, {}, e) for e in (fewer, episode))
    np.testing.assert_allclose(few, many[:2], atol=1e-4)


def test_what_no_head_fits_is_told(tmp_path):
    sections = {"task_distribution": {"task_families": ["sinusoid"]}}
    with pytest.raises(ConfigError, match="these tasks are regressions"):
        run_with("ridge", tmp_path, **sections)
    with pytest.raises(ConfigError, match=r"evaluation\.head"):
        RunConfig.from_dict({"evaluation": {"head": "rigde"}})
