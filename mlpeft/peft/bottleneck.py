"""Bottleneck adapters: a small perceptron after each chosen linear layer.

References:
    Houlsby et al., "Parameter-Efficient Transfer Learning for NLP", 2019,
    arXiv 1902.00751.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import mlx.core as mx
import mlx.nn as nn

from mlpeft.peft.linear import sizes
from mlpeft.peft.method import AdaptedLinear, Method
from mlpeft.peft.targets import linear_layers, replace

if TYPE_CHECKING:
    from mlpeft.config import PeftSection
    from mlpeft.peft.linear import Linear

DEFAULT_KEYS = (
    "attention.output",
    "layers.[0-9].output",
    "layers.[0-9][0-9].output",
    "o_proj",
    "down_proj",
)
"""As in the paper: the last layer of attention and of the feed-forward network."""


class BottleneckLinear(AdaptedLinear):
    """`y = h + relu(h D + d) U + u` for `h = linear(x)`; U, u zero at the start.

    Args:
        linear: The layer to wrap; frozen here.
        rank: Units of the bottleneck.
    """

    def __init__(self, linear: Linear, rank: int = 8) -> None:
        super().__init__(linear)
        dims, _ = sizes(linear)
        bound = 1.0 / math.sqrt(dims)
        self.down = mx.random.uniform(-bound, bound, (dims, rank))
        self.down_bias = mx.zeros((rank,))
        self.up = mx.zeros((rank, dims))
        self.up_bias = mx.zeros((dims,))

    def __call__(self, x: mx.array) -> mx.array:
        """(..., input_dims) -> (..., output_dims)."""
        h = self.linear(x)
        hidden = nn.relu(h @ self.down + self.down_bias)
        output: mx.array = h + (hidden @ self.up + self.up_bias).astype(h.dtype)
        return output


class Bottleneck(Method):
    """Wraps each chosen linear layer in a BottleneckLinear."""

    name = "adapter"
    merges = False

    def apply(self, model: nn.Module, section: PeftSection) -> None:
        """Wrap the layers.

        Raises:
            ConfigError: If no linear layer is chosen.
        """
        chosen = linear_layers(model, section.keys, DEFAULT_KEYS, section.num_layers)
        replace(
            model,
            {
                path: BottleneckLinear(layer, section.rank)
                for path, layer in chosen.items()
            },
        )
