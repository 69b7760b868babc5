"""Frozen layers of a language model are computed once, with the same result."""

from __future__ import annotations

import mlx.core as mx
import mlx.nn as nn
import numpy as np
import pytest

from mlpeft import params
from mlpeft.config import RunConfig
from mlpeft.meta import state
from mlpeft.meta.engine import Engine
from mlpeft.meta.functional import get_params
from mlpeft.meta.inner import InnerLoop
from mlpeft.models.build import build_model
from mlpeft.models.losses import cross_entropy_loss
from mlpeft.models.pretrained.frozen_layers import enable_frozen_layers
from mlpeft.tasks.episode import Episode
from tests.models.pretrained import tiny_lm

pytest.importorskip("mlx_lm", reason="install it with: pip install 'mlpeft[lm]'")

TOKENS = np.random.default_rng(1).integers(1, 40, (4, 8)).astype(np.int32)


def language_model(tmp_path, base_dtype="float32", **peft):
    where = tiny_lm.write(tmp_path)
    config = RunConfig.from_dict(
        {
            "model": {
                "backbone": "causal_lm",
                "weights": str(where),
                "base_dtype": base_dtype,
            },
            "peft": {"method": "lora", "rank": 2, **peft},
        }
    )
    return build_model(config.model, (8,), 1, seed=0, peft=config.peft)


def as_mlx(prepared):
    return {name: mx.array(part) for name, part in prepared.items()}


@pytest.mark.parametrize(
    ("peft", "base_dtype"),
    [
        ({"num_layers": 1}, "float32"),
        ({"num_layers": 1}, "bfloat16"),
        ({"method": "head", "train_also": ["model.norm"]}, "float32"),
        ({"method": "prefix", "num_layers": 1}, "float32"),
    ],
)
def test_logits_are_the_same_from_prepared_texts(tmp_path, peft, base_dtype):
    model = language_model(tmp_path, base_dtype, **peft)
    names = [name for name, _ in model.named_modules()]
    expected = model(mx.array(TOKENS))
    found = model(as_mlx(model.prepare(TOKENS)))
    assert found.dtype == expected.dtype
    close = 1e-4 if base_dtype == "float32" else 0.1
    np.testing.assert_allclose(
        found.astype(mx.float32), expected.astype(mx.float32), atol=close
    )
    assert [name for name, _ in model.named_modules()] == names


def test_the_frozen_layers_are_not_run_again(tmp_path):
    """Their weights have no part in what is computed from prepared texts."""
    model = language_model(tmp_path, num_layers=1)
    prepared = as_mlx(model.prepare(TOKENS))
    before = model(prepared)
    frozen = model.model.layers[0].mlp.up_proj
    frozen.weight = mx.full(frozen.weight.shape, mx.nan)
    assert mx.array_equal(model(prepared), before)
    assert mx.isnan(model(mx.array(TOKENS))).any()


def test_a_row_has_the_same_bits_in_any_batch_and_is_remembered(tmp_path):
    model = language_model(tmp_path, num_layers=1)
    all_rows = model.prepare(TOKENS)["hidden"]
    fresh = language_model(tmp_path, num_layers=1)
    np.testing.assert_array_equal(fresh.prepare(TOKENS[2:3])["hidden"][0], all_rows[2])
    model.model.layers[0] = None  # whoever runs it fails
    np.testing.assert_array_equal(model._features(TOKENS[0], 1, None), all_rows[0])


@pytest.mark.parametrize(
    "peft",
    [
        {},
        {"method": "prompt"},
        {"method": "prefix"},
        {"num_layers": 1, "train_also": ["embed_tokens"]},
    ],
)
def test_nothing_is_prepared_if_the_first_layer_or_the_embeddings_adapt(tmp_path, peft):
    assert language_model(tmp_path, **peft).prepare(TOKENS) is None


def test_inner_steps_are_those_of_the_model_without_it(tmp_path):
    """With batches and queries; the model is not changed."""
    model = language_model(tmp_path, num_layers=1)
    labels = np.roll(TOKENS, -1, axis=1)
    data = Episode(TOKENS, labels, TOKENS, labels)
    inner = InnerLoop(lr=0.05, num_steps=3, optimizer="adam", batch_size=2)
    theta = params.to_numpy(get_params(model))

    def adapted():
        engine = Engine(model, cross_entropy_loss, inner, "loop")
        result = engine.train(theta, [data], lambda _: np.random.default_rng(3))
        scores = engine.evaluate(
            theta, [data], lambda _: np.random.default_rng(3), [0, 3]
        )
        return result, scores

    result, scores = adapted()
    model.__class__ = type(model).__mro__[2]  # mlx-lm's own
    plain, plain_scores = adapted()
    for name, leaf in plain.total.items():
        np.testing.assert_allclose(result.total[name], leaf, rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(result.query_loss, plain.query_loss, rtol=1e-4)
    np.testing.assert_allclose(scores.loss, plain_scores.loss, rtol=1e-4)


def test_an_architecture_whose_layers_share_more_than_hidden_states_is_not_changed():
    class Layer(nn.Module):
        def __call__(self, x, mask, cache, shared):
            return x

    class Inner(nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = [Layer()]

    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.model = Inner()

    model = Model()
    enable_frozen_layers(model)
    assert type(model) is Model


@pytest.mark.parametrize("base_dtype", ["float32", "bfloat16"])
def test_the_adapter_and_its_optimiser_are_float32_whatever_the_base_is(
    tmp_path, base_dtype
):
    model = language_model(tmp_path, base_dtype, num_layers=1)
    labels = np.roll(TOKENS, -1, axis=1)
    inner = InnerLoop(lr=0.05, optimizer="adam", state="carry")
    meta = state.initial(get_params(model), inner, model)
    assert any("/v/" in name for name in meta)
    data = Episode(TOKENS, labels, TOKENS, labels)
    engine = Engine(model, cross_entropy_loss, inner, "loop")
    result = engine.train(meta, [data], lambda _: np.random.default_rng(3))
    assert set(result.total) == set(meta)
    assert {leaf.dtype for leaf in result.total.values()} == {np.dtype(np.float32)}
    assert result.support_loss.dtype == np.float32
