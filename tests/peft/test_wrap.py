"""A wrapped model has a frozen base and the configured leaves."""

from __future__ import annotations

import mlx.core as mx
import mlx.nn as nn
import pytest

from mlpeft.config import RunConfig
from mlpeft.errors import ConfigError
from mlpeft.meta.functional import get_params
from mlpeft.models.mlp import SimpleClassifier
from mlpeft.peft.wrap import merge, wrap
from tests.peft.models import encoder, peft


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


def test_a_pattern_that_matches_nothing_names_the_nearest_layer(tmp_path):
    with pytest.raises(ConfigError, match="did you mean 'value'"):
        encoder(tmp_path, peft(method="lora", keys=["values"]))


def test_any_module_can_be_wrapped():
    model = SimpleClassifier(3, 8, 2)
    wrap(model, peft(method="lora", keys=["layers.*"], rank=2, train_also=[]))
    assert all("lora_" in name for name in get_params(model))
    assert model(mx.ones((5, 3))).shape == (5, 2)


def test_every_key_that_matches_nothing_is_reported(tmp_path):
    section = peft(method="lora", keys=["query", "valve", "intermedate"])
    with pytest.raises(ConfigError) as error:
        encoder(tmp_path, section)
    assert "'valve' matches no linear layer" in str(error.value)
    assert "did you mean 'intermediate'" in str(error.value)
    assert len(error.value.problems) == 2


def test_all_problems_of_a_section_are_reported_at_once():
    """A method that is misspelt, a rank of zero, a scaling that lacks its alpha."""
    with pytest.raises(ConfigError) as error:
        RunConfig.from_dict({"peft": {"method": "lorra", "rank": 0, "rslora": True}})
    message = str(error.value)
    assert "did you mean 'lora'" in message
    assert "peft.rank" in message
    assert "set peft.alpha too" in message


def test_missing_blocks_are_an_error():
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    section = peft(method="full", keys=["layers.0"], num_layers=1)
    with pytest.raises(ConfigError, match="no chosen module is in the last 1 layers"):
        wrap(model, section)


def test_missing_biases_are_an_error():
    model = nn.Sequential(nn.Linear(2, 2, bias=False))
    with pytest.raises(ConfigError, match="bitfit needs biases"):
        wrap(model, peft(method="bitfit"))


def test_full_keeps_frozen_leaves_frozen(tmp_path):
    """The head of an episode is frozen: it is no part of theta."""
    assert "head.weight" not in get_params(encoder(tmp_path, peft(method="full")))
    whole = get_params(encoder(tmp_path, peft(method="full")))
    assert set(whole) == set(get_params(encoder(tmp_path, peft())))


def test_a_method_may_be_named_with_its_settings_and_merged_again():
    """What the `peft` section leaves open, the name of a method leaves open too."""
    model = SimpleClassifier(2, 4, 2)
    x = mx.array([[1.0, -2.0]])
    before = model(x)
    assert wrap(model, "lora", rank=2, keys=["layers.0"]) is model
    assert {name: leaf.shape for name, leaf in get_params(model).items()} == {
        "layers.0.lora_a": (2, 2),
        "layers.0.lora_b": (2, 4),
    }
    assert merge(model, "lora") is model
    assert mx.allclose(model(x), before)


@pytest.mark.parametrize(
    ("method", "settings", "told"),
    [
        ("lorra", {}, "method: "),
        ("lora", {"rnak": 2}, "did you mean 'rank'?"),
        ("lora", {"rank": 0}, "rank: "),
    ],
)
def test_a_setting_that_is_none_is_told(method, settings, told):
    with pytest.raises(ConfigError) as refused:
        wrap(SimpleClassifier(2, 4, 2), method, **settings)
    assert told in str(refused.value)


def test_a_section_takes_no_further_settings():
    with pytest.raises(TypeError, match="put these into the section"):
        wrap(SimpleClassifier(2, 4, 2), peft(method="lora"), rank=2)
