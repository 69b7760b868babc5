"""First-order MAML: what a task returns, worked out by hand and by differences."""

from __future__ import annotations

import mlx.core as mx
import mlx.nn as nn
import numpy as np
import pytest

from mlpeft.config import RunConfig
from mlpeft.errors import ConfigError, ShapeError
from mlpeft.meta.engine import Engine
from mlpeft.meta.functional import get_params
from mlpeft.meta.inner import InnerLoop
from mlpeft.meta.outer import OuterStep
from mlpeft.models.losses import cross_entropy_loss, mse_loss
from mlpeft.models.pretrained.sentence_classifier import SentenceClassifier
from mlpeft.params import to_numpy
from mlpeft.tasks.episode import Episode
from mlpeft.training.loop import train

STRATEGIES = ("loop", "compiled", "vmap")


def order(index):
    return np.random.default_rng(index)


def slope():
    """y = w x, w = 1."""
    model = nn.Linear(1, 1, bias=False)
    model.weight = mx.array([[1.0]])
    return model


def column(*values):
    return np.array(values, np.float32)[:, None]


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_task_returns_the_queries_gradient_at_the_adapted_parameters(strategy):
    """w = 1; support (1, 3): gradient 2 (1 - 3) = -4, so with step 0.25 w = 2.

    Query (1, 5): loss (2 - 5)^2 = 9, gradient 2 (2 - 5) = -6.
    """
    model = slope()
    engine = Engine(
        model, mse_loss, InnerLoop(lr=0.25, num_steps=1), strategy, "fomaml"
    )
    task = Episode(column(1), column(3), column(1), column(5))
    result = engine.train(to_numpy(get_params(model)), [task, task], order)
    np.testing.assert_allclose(result.total["weight"], [[-12.0]], rtol=1e-6)
    np.testing.assert_allclose(result.query_loss, [9.0, 9.0], rtol=1e-6)


def prototypes(seed=0):
    rng = np.random.default_rng(seed)
    encoder = nn.Linear(3, 2, bias=False)
    encoder.weight = mx.array(rng.normal(size=(2, 3)).astype(np.float32))
    return SentenceClassifier(encoder, 2, 2, scale=1.0)


def points(seed):
    rng = np.random.default_rng(seed)
    labels = np.array([0, 1, 0, 1], np.int32)
    draw = [rng.normal(size=(4, 3)).astype(np.float32) for _ in range(2)]
    return Episode(draw[0], labels, draw[1], labels)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_without_inner_steps_it_is_the_gradient_of_a_prototypical_network(strategy):
    """Through queries and prototypes both: against differences of the whole loss."""
    model, task = prototypes(), points(1)
    theta = to_numpy(get_params(model))
    inner = InnerLoop(lr=0.1, num_steps=0)
    engine = Engine(model, cross_entropy_loss, inner, strategy, "fomaml")
    gradient = engine.train(theta, [task], order).total["encoder.weight"]

    def loss(weight):
        return engine.evaluate({"encoder.weight": weight}, [task], order, [0]).loss[
            0, 0
        ]

    for place in np.ndindex(2, 3):
        nudge = np.zeros((2, 3), np.float32)
        nudge[place] = 1e-2
        start = theta["encoder.weight"]
        slope = (loss(start + nudge) - loss(start - nudge)) / 2e-2
        assert gradient[place] == pytest.approx(slope, abs=2e-3)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_without_inner_steps_a_size_of_inner_batches_changes_nothing(strategy):
    model = prototypes()
    theta = to_numpy(get_params(model))
    with_batches, without = (
        Engine(model, cross_entropy_loss, inner, strategy, "fomaml")
        .train(theta, [points(1)], order)
        .total["encoder.weight"]
        for inner in (InnerLoop(num_steps=0, batch_size=2), InnerLoop(num_steps=0))
    )
    np.testing.assert_array_equal(with_batches, without)


def test_strategies_agree_after_inner_steps_in_batches():
    model = prototypes()
    theta = to_numpy(get_params(model))
    inner = InnerLoop(lr=0.3, num_steps=2, batch_size=2)
    tasks = [points(seed) for seed in range(3)]
    totals = [
        Engine(model, cross_entropy_loss, inner, strategy, "fomaml")
        .train(theta, tasks, order)
        .total["encoder.weight"]
        for strategy in STRATEGIES
    ]
    for other in totals[1:]:
        np.testing.assert_allclose(other, totals[0], atol=1e-5)


def test_the_outer_step_descends_the_mean_gradient():
    theta = {"w": np.array([1.0], np.float32)}
    step = OuterStep(algorithm="fomaml", lr=0.5, state={})
    result = step.step(theta, {"w": np.array([0.4], np.float32)}, 0)
    np.testing.assert_allclose(result.meta["w"], [0.8], rtol=1e-6)


def test_episodes_without_queries_are_refused():
    model = slope()
    engine = Engine(model, mse_loss, InnerLoop(), "loop", "fomaml")
    task = Episode(column(1), column(3), column()[:0], column()[:0])
    with pytest.raises(ShapeError, match="train_query_size"):
        engine.train(to_numpy(get_params(model)), [task], order)


def test_what_it_cannot_learn_from_is_refused_in_the_configuration():
    with pytest.raises(ConfigError, match="reptile learns from its inner steps"):
        RunConfig.from_dict({"meta_learning": {"num_inner_steps": 0}})
    with pytest.raises(ConfigError, match="train_query_size: fomaml learns from"):
        RunConfig.from_dict(
            {
                "meta_learning": {"algorithm": "fomaml"},
                "task_distribution": {"train_query_size": 0},
            }
        )


def test_it_meta_learns_sinusoids_as_reptile_does(tmp_path):
    """The loss after ten steps falls below what the first theta gives."""
    config = RunConfig.from_dict(
        {
            "run": {"name": "fomaml"},
            "meta_learning": {
                "algorithm": "fomaml",
                "num_meta_iterations": 60,
                "inner_lr": 0.02,
                "outer_lr": 0.01,
                "outer_optimizer": "adam",
                "eval_interval": 60,
            },
            "task_distribution": {
                "task_families": ["sinusoid"],
                "num_classes": 1,
                "k_shot": 10,
                "query_size": 10,
            },
            "model": {"backbone": "tanh", "hidden_dim": 32},
            "evaluation": {"num_val_episodes": 20},
            "paths": {"checkpoint_dir": str(tmp_path)},
        }
    )
    result = train(config)
    lines = (result.run_dir / "metrics.jsonl").read_text().splitlines()
    assert result.best is not None
    assert result.iteration == 60
    assert len(lines) > 60
