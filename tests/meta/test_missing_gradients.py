"""An operation without a gradient is named, whoever wrote the model."""

from __future__ import annotations

import mlx.core as mx
import mlx.nn as nn
import numpy as np
import pytest

from mlpeft.errors import ConfigError
from mlpeft.meta.engine import Engine
from mlpeft.meta.functional import get_params
from mlpeft.meta.inner import InnerLoop
from mlpeft.models.losses import cross_entropy_loss
from mlpeft.tasks.episode import Episode

RNG = np.random.default_rng(0)
X = RNG.normal(size=(4, 3)).astype(np.float32)
Y = np.array([0, 1, 2, 0], np.int32)


class Sorted(nn.Module):
    """Takes its outputs by indices that depend on its weights."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(3, 3)

    def __call__(self, x):
        y = self.linear(x)
        return mx.take_along_axis(y, mx.argsort(y, axis=-1), axis=-1)


class Inverted(Sorted):
    def __call__(self, x):
        return self.linear(x) @ mx.linalg.inv(self.linear.weight, stream=mx.cpu)


class Failing(Sorted):
    def __call__(self, x):
        raise ValueError("[mine] something else")


def train(model, strategy):
    inner = InnerLoop(lr=0.1, num_steps=1)
    engine = Engine(model, cross_entropy_loss, inner, strategy)
    theta = {name: np.array(leaf) for name, leaf in get_params(model).items()}
    engine.train(theta, [Episode(X, Y, X, Y)], np.random.default_rng)


@pytest.mark.parametrize("strategy", ["loop", "compiled", "vmap"])
def test_every_strategy_names_the_operation_in_one_sentence(strategy):
    with pytest.raises(ConfigError, match=r"no gradient of gather_axis,.*take another"):
        train(Sorted(), strategy)


def test_an_operation_that_never_has_a_gradient_is_named_too():
    with pytest.raises(ConfigError, match="no gradient of Inverse,"):
        train(Inverted(), "loop")


def test_another_error_of_the_model_stays_what_it_is():
    with pytest.raises(ValueError, match=r"^\[mine\] something else$"):
        train(Failing(), "loop")
