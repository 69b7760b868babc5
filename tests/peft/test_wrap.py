"""A wrapped model has a frozen base and few leaves that adapt."""

from __future__ import annotations

import mlx.core as mx
import mlx.nn as nn
import numpy as np
import pytest
from mlx.utils import tree_flatten

from mlpeft.config import ModelSection, PeftSection
from mlpeft.errors import ConfigError
from mlpeft.meta.functional import get_params
from mlpeft.meta.learner import ReptileLearner
from mlpeft.models.build import build_model
from mlpeft.models.losses import cross_entropy_loss
from mlpeft.models.mlp import SimpleClassifier
from mlpeft.peft.lora import LoRALinear
from mlpeft.peft.wrap import merge, wrap
from tests.models import tiny

TOKENS = np.array([[3, 7, 9, 0], [4, 5, 0, 0], [8, 2, 6, 1], [9, 9, 0, 0]], np.int32)
LABELS = np.array([0, 1, 0, 1], np.int32)


def peft(**keys) -> PeftSection:
    return PeftSection.model_validate(keys)


def encoder(folder, section: PeftSection, **keys) -> nn.Module:
    tiny.write(folder)
    model = ModelSection(backbone="encoder", weights=str(folder), **keys)
    return build_model(model, (8,), 2, seed=1, peft=section)


def everything(model: nn.Module) -> dict[str, bytes]:
    return {
        name: np.array(leaf).tobytes()
        for name, leaf in tree_flatten(model.parameters())
    }


def move(model: nn.Module, seed: int = 0) -> None:
    """Give every trainable leaf another value."""
    rng = np.random.default_rng(seed)
    leaves = get_params(model)
    for name, leaf in leaves.items():
        leaves[name] = leaf + mx.array(rng.normal(size=leaf.shape).astype(np.float32))
    model.load_weights(list(leaves.items()), strict=False)


def test_lora_changes_nothing_before_it_has_learned(tmp_path):
    plain = encoder(tmp_path, peft(), head="learned")
    wrapped = encoder(tmp_path, peft(method="lora"), head="learned")
    x = mx.array(TOKENS)
    np.testing.assert_array_equal(plain.encoder(x), wrapped.encoder(x))


def test_only_the_adapters_are_in_theta(tmp_path):
    """Two layers, query and value each, A and B each; names and layout of mlx-lm."""
    leaves = get_params(encoder(tmp_path, peft(method="lora", rank=3)))
    assert {name: leaf.shape for name, leaf in leaves.items()} == {
        f"encoder.layers.{layer}.attention.{part}.lora_{side}": shape
        for layer in (0, 1)
        for part in ("query", "value")
        for side, shape in (("a", (16, 3)), ("b", (3, 16)))
    }


def test_keys_and_num_layers_choose_the_layers(tmp_path):
    section = peft(method="lora", keys=["attention.key", "inter*"], num_layers=1)
    names = {name.rpartition(".")[0] for name in get_params(encoder(tmp_path, section))}
    assert names == {
        "encoder.layers.1.attention.key",
        "encoder.layers.1.intermediate",
    }


def test_bitfit_trains_biases_alone(tmp_path):
    names = get_params(encoder(tmp_path, peft(method="bitfit", keys=["query"])))
    assert set(names) == {
        "encoder.layers.0.attention.query.bias",
        "encoder.layers.1.attention.query.bias",
    }


def test_head_trains_the_head_alone(tmp_path):
    model = encoder(tmp_path, peft(method="head"), head="learned")
    assert set(get_params(model)) == {"head.weight", "head.bias"}


def test_nothing_left_to_learn_is_an_error(tmp_path):
    with pytest.raises(ConfigError, match="nothing is left to meta-learn"):
        encoder(tmp_path, peft(method="head"))


def test_a_pattern_that_fits_nothing_names_the_nearest_layer(tmp_path):
    with pytest.raises(ConfigError, match="did you mean 'value'"):
        encoder(tmp_path, peft(method="lora", keys=["values"]))


@pytest.mark.parametrize("method", ["lora", "bitfit"])
def test_meta_training_leaves_every_byte_of_the_base_as_it_was(tmp_path, method):
    model = encoder(tmp_path, peft(method=method))
    before = everything(model)
    theta = set(get_params(model))
    learner = ReptileLearner(model, inner_lr=0.1, outer_lr=1.0, num_inner_steps=3)
    episode = tuple(map(mx.array, (TOKENS, LABELS, TOKENS, LABELS)))
    learner.meta_train_step([episode] * 2, cross_entropy_loss)
    learner.evaluate([episode], cross_entropy_loss)
    changed = {name for name, leaf in everything(model).items() if leaf != before[name]}
    assert changed
    assert changed <= theta
    assert set(get_params(model)) == theta


@pytest.mark.parametrize("method", ["lora", "bitfit"])
def test_a_merged_model_computes_the_same_without_the_method(tmp_path, method):
    section = peft(method=method)
    model = encoder(tmp_path, section)
    names = set(everything(encoder(tmp_path, peft())))
    move(model)
    x = mx.array(TOKENS)
    before = np.array(model.encoder(x))
    merge(model, section)
    np.testing.assert_allclose(before, model.encoder(x), atol=2e-5)
    assert set(everything(model)) == names


def test_lora_is_the_product_beside_the_layer():
    """x = (1, 2), W = I, no bias, A = (1, 1)^T, B = (3, 4), scale 2: x + 2 * 3 * B."""
    linear = nn.Linear(2, 2, bias=False)
    linear.weight = mx.eye(2)
    layer = LoRALinear(linear, rank=1, scale=2.0)
    layer.lora_a, layer.lora_b = mx.array([[1.0], [1.0]]), mx.array([[3.0, 4.0]])
    x = mx.array([[1.0, 2.0]])
    np.testing.assert_allclose(layer(x), [[19.0, 26.0]])
    np.testing.assert_allclose(layer.merged()(x), [[19.0, 26.0]])


def test_any_module_can_be_wrapped():
    model = SimpleClassifier(3, 8, 2)
    wrap(model, peft(method="lora", keys=["layers.*"], rank=2, train_also=[]))
    assert all("lora_" in name for name in get_params(model))
    assert model(mx.ones((5, 3))).shape == (5, 2)


def test_the_start_follows_from_the_seed(tmp_path):
    section = peft(method="lora")
    one, other = (get_params(encoder(tmp_path, section)) for _ in range(2))
    for name, leaf in one.items():
        np.testing.assert_array_equal(leaf, other[name])
