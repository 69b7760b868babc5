"""Layers that are computed again give the same step from less memory."""

from __future__ import annotations

import mlx.core as mx
import mlx.nn as nn
import numpy as np
import pytest

from mlpeft import params
from mlpeft.config import RunConfig
from mlpeft.errors import ConfigError
from mlpeft.meta.engine import Engine
from mlpeft.meta.functional import get_params
from mlpeft.meta.inner import InnerLoop
from mlpeft.models.build import build_model
from mlpeft.models.losses import cross_entropy_loss
from mlpeft.models.mlp import LinearClassifier, SimpleClassifier
from mlpeft.tasks.episode import Episode
from mlpeft.training.runner import resolved
from tests.models.pretrained import tiny, tiny_lm

INNER = InnerLoop(lr=0.05, num_steps=2, optimizer="adam")


def encoder(tmp_path, **peft):
    config = RunConfig.from_dict(
        {
            "model": {"backbone": "encoder", "weights": str(tiny.write(tmp_path))},
            "peft": {"method": "lora", "rank": 2, **peft},
        }
    )
    return build_model(config.model, (8,), 2, seed=0, peft=config.peft)


def language_model(tmp_path, **peft):
    pytest.importorskip("mlx_lm", reason="install it with: pip install 'mlpeft[lm]'")
    config = RunConfig.from_dict(
        {
            "model": {"backbone": "causal_lm", "weights": str(tiny_lm.write(tmp_path))},
            "peft": {"method": "lora", "rank": 2, **peft},
        }
    )
    return build_model(config.model, (8,), 1, seed=0, peft=config.peft)


def episode(make) -> Episode:
    rng = np.random.default_rng(1)
    x = rng.integers(1, 40, (4, 8)).astype(np.int32)
    y = np.array([0, 1, 0, 1]) if make is encoder else np.roll(x, -1, axis=1)
    return Episode(x, y.astype(np.int32), x, y.astype(np.int32))


def step(model, data, strategy="loop", **settings) -> params.ParamTree:
    engine = Engine(model, cross_entropy_loss, INNER, strategy, **settings)
    theta = params.to_numpy(get_params(model))
    return engine.train(theta, [data], lambda _: np.random.default_rng(3)).total


@pytest.mark.parametrize(
    ("make", "dropout", "strategy"),
    [
        (encoder, 0.0, "loop"),
        (encoder, 0.5, "compiled"),
        (language_model, 0.5, "loop"),
    ],
)
def test_layers_computed_again_take_the_same_steps(tmp_path, make, dropout, strategy):
    """With the masks of dropout, too; the module is afterwards what it was."""
    model = make(tmp_path, dropout=dropout)
    kinds = {path: type(module) for path, module in model.named_modules()}
    kept = step(model, episode(make), strategy)
    again = step(model, episode(make), strategy, gradient_checkpointing=True)
    start = params.to_numpy(get_params(model))
    for name, leaf in kept.items():
        np.testing.assert_allclose(again[name], leaf, rtol=1e-3, atol=1e-5)
        assert np.abs(leaf - start[name]).max() > 1e-3
    assert {path: type(module) for path, module in model.named_modules()} == kinds


class Deep(nn.Module):
    """Twelve wide perceptrons, each with much inside and little between."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = [
            nn.Sequential(nn.Linear(16, 2048), nn.Tanh(), nn.Linear(2048, 16))
            for _ in range(12)
        ]

    def __call__(self, x: mx.array) -> mx.array:
        for layer in self.layers:
            x = x + layer(x)
        return x


def test_they_take_less_memory():
    model = Deep()
    for layer in model.layers:
        layer.layers[0].freeze()  # else the gradient itself is most of it
        layer.layers[2].freeze(keys="weight")
    rng = np.random.default_rng(0)
    x = rng.normal(size=(256, 16)).astype(np.float32)
    data = Episode(x, np.zeros(256, np.int32), x[:0], np.zeros(0, np.int32))
    peak = {}
    for on in (False, True):
        mx.clear_cache()
        mx.reset_peak_memory()
        held = mx.get_active_memory()
        step(model, data, gradient_checkpointing=on)
        peak[on] = mx.get_peak_memory() - held
    assert peak[True] < 0.7 * peak[False]


def test_what_does_not_go_with_them_is_said(tmp_path):
    with pytest.raises(ConfigError, match="does not go with"):
        step(SimpleClassifier(2, 4, 2), None, "vmap", gradient_checkpointing=True)
    with pytest.raises(ConfigError, match=r"no blocks named layers\.0"):
        step(LinearClassifier(2, 2), None, None, gradient_checkpointing=True)
    model = language_model(tmp_path, method="prefix")
    with pytest.raises(ConfigError, match="keeps it in caches"):
        step(model, episode(language_model), gradient_checkpointing=True)


def test_a_run_that_leaves_the_strategy_open_is_not_vectorised_with_them():
    config = RunConfig.from_dict({"compute": {"gradient_checkpointing": True}})
    settled = resolved(config, SimpleClassifier(2, 4, 2)).compute
    assert settled.strategy == "compiled"
    assert settled.shard_size == 1
