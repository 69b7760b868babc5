"""Fully connected models: a multilayer perceptron and a linear classifier."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import mlx.core as mx
import mlx.nn as nn

from mlpeft.errors import ShapeError
from mlpeft.models.ops import relu, tanh
from mlpeft.models.ops.linear import Linear

if TYPE_CHECKING:
    from collections.abc import Callable

ACTIVATIONS: dict[str, Callable[[mx.array], mx.array]] = {
    "relu": relu,
    "tanh": tanh,
}


class SimpleClassifier(nn.Module):
    """A multilayer perceptron: `num_layers` hidden layers, then a linear one.

    `y = W_L f(... f(W_0 x + b_0) ...) + b_L`. The outputs are logits of classes, or
    the predictions of a regression such as the sinusoid tasks.

    Args:
        input_dim: Numbers in one input; inputs with more axes are flattened.
        hidden_dim: Units of each hidden layer.
        num_classes: Outputs.
        num_layers: Hidden layers; 0 makes it linear.
        activation: "relu" or "tanh".
    """

    def __init__(
        self,
        input_dim: int = 2,
        hidden_dim: int = 64,
        num_classes: int = 2,
        num_layers: int = 2,
        activation: str = "relu",
    ) -> None:
        super().__init__()
        self.input_dim = input_dim
        self.activation = activation
        sizes = [input_dim, *[hidden_dim] * num_layers, num_classes]
        self.layers = [
            Linear(inputs, outputs) for inputs, outputs in itertools.pairwise(sizes)
        ]

    def __call__(self, x: mx.array) -> mx.array:
        """Logits (n, num_classes) of inputs (n, input_dim) or (n, ...).

        Raises:
            ShapeError: If the inputs do not hold `input_dim` numbers each.
        """
        output: mx.array = self.layers[-1](self.embed(x))
        return output

    @property
    def output_path(self) -> str:
        """The last layer's name."""
        return f"layers.{len(self.layers) - 1}"

    def embed(self, x: mx.array) -> mx.array:
        """The last layer's inputs (n, hidden_dim); raises as `__call__`."""
        activate = ACTIVATIONS[self.activation]
        h = _flatten(x, self.input_dim)
        for layer in self.layers[:-1]:
            h = activate(layer(h))
        return h


class LinearClassifier(nn.Module):
    """Multinomial logistic regression: `y = W x + b`.

    Args:
        input_dim: Numbers in one input; inputs with more axes are flattened.
        num_classes: Outputs.
    """

    def __init__(self, input_dim: int = 2, num_classes: int = 2) -> None:
        super().__init__()
        self.input_dim = input_dim
        self.linear = Linear(input_dim, num_classes)

    def __call__(self, x: mx.array) -> mx.array:
        """Logits (n, num_classes) of inputs (n, input_dim) or (n, ...).

        Raises:
            ShapeError: If the inputs do not hold `input_dim` numbers each.
        """
        output: mx.array = self.linear(_flatten(x, self.input_dim))
        return output


def _flatten(x: mx.array, input_dim: int) -> mx.array:
    """(n, ...) -> (n, input_dim), or an error that names both shapes."""
    flat = x.reshape(x.shape[0], -1) if x.ndim > 2 else x
    if flat.ndim != 2 or flat.shape[1] != input_dim:
        raise ShapeError(
            f"invalid shape: inputs {tuple(x.shape)} for a model of "
            f"input_dim={input_dim}, expected (n, {input_dim}); set the model's "
            "input_dim to the task's"
        )
    return flat
