"""Layers that a model reads instead of calling them are left alone."""

from __future__ import annotations

import mlx.core as mx
import mlx.nn as nn
import pytest
from mlx.utils import tree_flatten

from mlpeft.errors import ConfigError
from mlpeft.peft.uncalled import uncalled
from mlpeft.peft.wrap import wrap
from tests.peft.models import peft


class Block(nn.Module):
    """Calls a layer, and reads the weight of another."""

    def __init__(self):
        super().__init__()
        self.called = nn.Linear(4, 4)
        self.read = nn.Linear(4, 4, bias=False)

    def __call__(self, x):
        return self.called(x) @ self.read.weight.reshape(4, 4)


class Derived(Block):
    """Its base has the source that tells."""


class Both(nn.Module):
    """Reads the weight of a layer, and calls it."""

    def __init__(self):
        super().__init__()
        self.both = nn.Linear(4, 4)

    def __call__(self, x):
        return self.both(x.astype(self.both.weight.dtype))


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = [Block(), Derived()]

    def __call__(self, x):
        for layer in self.layers:
            x = layer(x)
        return x


def test_a_layer_whose_weight_is_only_read_is_told_from_others():
    paths = [f"layers.{n}.{name}" for n in (0, 1) for name in ("called", "read")]
    found = uncalled(Model(), [*paths, "layers.0"])
    assert found == {"layers.0.read": "Block", "layers.1.read": "Derived"}
    assert uncalled(Both(), ["both"]) == {}


@pytest.mark.parametrize("method", ["lora", "dora", "ia3"])
@pytest.mark.parametrize("keys", [None, ["*"]])
def test_it_is_not_adapted_and_the_model_still_runs(method, keys):
    model = wrap(Model(), peft(method=method, keys=keys))
    assert isinstance(model.layers[1].read, nn.Linear)
    assert not isinstance(model.layers[1].called, nn.Linear)
    assert model(mx.ones((2, 4))).shape == (2, 4)


def test_a_key_that_names_nothing_else_is_refused_with_the_reason():
    with pytest.raises(ConfigError, match=r"never calls: Block reads the weight of"):
        wrap(Model(), peft(method="lora", keys=["called", "read"]))


@pytest.mark.parametrize("method", ["lora", "dora", "ia3"])
def test_a_layer_that_is_read_and_called_gives_its_merged_weight(method):
    model = wrap(Both(), peft(method=method, keys=["both"]))
    leaves = tree_flatten(model.trainable_parameters())
    model.load_weights([(path, leaf + 0.1) for path, leaf in leaves], strict=False)
    assert model(mx.ones((2, 4))).shape == (2, 4)
    merged = model.both.merged()
    assert mx.array_equal(model.both.weight, merged.weight)
    assert mx.array_equal(model.both.bias, merged.bias)
    assert not mx.array_equal(model.both.weight, model.both.linear.weight)


def test_a_weight_that_does_not_exist_says_what_to_use():
    model = wrap(Both(), peft(method="adapter", keys=["both"]))
    with pytest.raises(AttributeError, match=r"no equivalent plain layer.*peft\.keys"):
        model(mx.ones((2, 4)))
