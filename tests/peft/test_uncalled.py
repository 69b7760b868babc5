"""Layers that a model reads instead of calling them are left alone."""

from __future__ import annotations

import mlx.core as mx
import mlx.nn as nn
import pytest

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
