"""A batch that is computed a few examples at a time gives the step of the whole."""

from __future__ import annotations

from dataclasses import replace

import mlx.core as mx
import numpy as np
import pytest

from mlpeft import params
from mlpeft.config import RunConfig
from mlpeft.errors import ConfigError
from mlpeft.meta.engine import Engine
from mlpeft.meta.functional import get_params
from mlpeft.meta.inner import InnerLoop
from mlpeft.models.build import build_model
from mlpeft.models.conv4 import Conv4
from mlpeft.models.losses import IGNORED, cross_entropy_loss, mse_loss
from mlpeft.models.mlp import SimpleClassifier
from mlpeft.tasks.episode import Episode
from mlpeft.training.runner import resolved
from tests.models.pretrained import tiny, tiny_lm

INNER = InnerLoop(lr=0.05, num_steps=2, optimizer="adam", beta1=0.5)
RNG = np.random.default_rng(1)


def perceptron(_):
    x = RNG.normal(size=(7, 2)).astype(np.float32)
    y = (x[:, 0] > 0).astype(np.int32)
    return SimpleClassifier(2, 8, 2), Episode(x, y, x, y), cross_entropy_loss


def regression(_):
    x = RNG.normal(size=(7, 2)).astype(np.float32)
    return SimpleClassifier(2, 8, 2), Episode(x, x**2, x, x**2), mse_loss


def encoder(tmp_path):
    config = RunConfig.from_dict(
        {
            "model": {"backbone": "encoder", "weights": str(tiny.write(tmp_path))},
            "peft": {"method": "lora", "rank": 2, "num_layers": 1},
        }
    )
    model = build_model(config.model, (8,), 2, seed=0, peft=config.peft)
    x = RNG.integers(1, 40, (7, 8)).astype(np.int32)
    y = np.array([0, 1, 0, 1, 1, 0, 0], np.int32)
    return model, Episode(x, y, x, y), cross_entropy_loss


def language_model(tmp_path):
    """Completions of different lengths: shares are of tokens, not of examples."""
    pytest.importorskip("mlx_lm", reason="install it with: pip install 'mlpeft[lm]'")
    config = RunConfig.from_dict(
        {
            "model": {"backbone": "causal_lm", "weights": str(tiny_lm.write(tmp_path))},
            "peft": {"method": "lora", "rank": 2, "num_layers": 1},
        }
    )
    model = build_model(config.model, (8,), 1, seed=0, peft=config.peft)
    x = RNG.integers(1, 40, (7, 8)).astype(np.int32)
    y = np.roll(x, -1, axis=1)
    for row, start in enumerate((7, 6, 1, 0, 5, 8, 8)):
        y[row, :start] = IGNORED
    return model, Episode(x, y, x, y), cross_entropy_loss


@pytest.mark.parametrize("batch", [None, 5])
@pytest.mark.parametrize("make", [perceptron, regression, encoder, language_model])
def test_steps_are_those_of_the_whole_batch(tmp_path, make, batch):
    """Training and evaluation; 7 or 5 examples in twos, the last alone."""
    model, data, loss_fn = make(tmp_path)
    theta = params.to_numpy(get_params(model))
    found = []
    for micro_batch in (None, 2):
        inner = replace(INNER, batch_size=batch, micro_batch=micro_batch)
        engine = Engine(model, loss_fn, inner, "loop")
        rng = [theta, [data], lambda _: np.random.default_rng(3)]
        found.append((engine.train(*rng), engine.evaluate(*rng, [0, 2])))
    (whole, scores), (parts, part_scores) = found
    for name, leaf in whole.total.items():
        np.testing.assert_allclose(parts.total[name], leaf, rtol=2e-3, atol=1e-5)
        assert np.abs(leaf - theta[name]).max() > 1e-3
    np.testing.assert_allclose(parts.support_loss, whole.support_loss, rtol=1e-4)
    np.testing.assert_allclose(part_scores.loss, scores.loss, rtol=1e-3)


def test_a_compiled_loop_takes_the_same_steps():
    model, data, loss_fn = perceptron(None)
    theta = params.to_numpy(get_params(model))
    loop, compiled = (
        Engine(model, loss_fn, replace(INNER, micro_batch=3), strategy).train(
            theta, [data], lambda _: np.random.default_rng(3)
        )
        for strategy in ("loop", "compiled")
    )
    for name, leaf in loop.total.items():
        np.testing.assert_allclose(compiled.total[name], leaf, rtol=1e-3, atol=1e-5)


def test_fewer_examples_at_a_time_take_less_memory():
    model = SimpleClassifier(16, 256, 2, num_layers=6)
    x = RNG.normal(size=(4096, 16)).astype(np.float32)
    data = Episode(x, np.zeros(4096, np.int32), x[:0], np.zeros(0, np.int32))
    theta = params.to_numpy(get_params(model))
    peak = {}
    for micro_batch in (None, 256):
        mx.clear_cache()
        mx.reset_peak_memory()
        held = mx.get_active_memory()
        inner = InnerLoop(num_steps=1, micro_batch=micro_batch)
        engine = Engine(model, cross_entropy_loss, inner, "loop")
        engine.train(theta, [data], np.random.default_rng)
        peak[micro_batch] = mx.get_peak_memory() - held
    assert peak[256] < 0.5 * peak[None]


def test_what_does_not_go_with_it_is_said():
    inner = replace(INNER, micro_batch=2)
    with pytest.raises(ConfigError, match="inner_micro_batch does not go with"):
        Engine(SimpleClassifier(2, 4, 2), cross_entropy_loss, inner, "vmap")
    with pytest.raises(ConfigError, match="statistics of the whole batch"):
        Engine(Conv4(5), cross_entropy_loss, inner)


def test_a_run_that_leaves_the_strategy_open_is_not_vectorised_with_it():
    config = RunConfig.from_dict({"meta_learning": {"inner_micro_batch": 2}})
    settled = resolved(config, SimpleClassifier(2, 4, 2)).compute
    assert (settled.strategy, settled.shard_size) == ("compiled", 1)
