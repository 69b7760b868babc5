"""LoRA: a low-rank change beside each chosen linear layer.

Names and layout are mlx-lm's. Its `scale` multiplies directly; Hugging Face PEFT's is
`lora_alpha / r`, and its `lora_A` is (r, input_dims), ours transposed.

References:
    Hu et al., "LoRA: Low-Rank Adaptation of Large Language Models", 2021,
    arXiv 2106.09685.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import mlx.core as mx
import mlx.nn as nn

from mlpeft.peft.targets import linear_layers, replace

if TYPE_CHECKING:
    from mlpeft.config import PeftSection

DEFAULT_KEYS = ("query", "value", "q_proj", "v_proj")
"""As in the paper: the projections to queries and values."""


class LoRALinear(nn.Module):
    """`y = linear(x) + scale (x A) B`, with A at random and B zero at the start.

    Args:
        linear: The layer to change; frozen here.
        rank: Inner dimension of the product A B.
        scale: Factor of the change.
    """

    def __init__(self, linear: nn.Linear, rank: int = 8, scale: float = 2.0) -> None:
        super().__init__()
        output_dims, input_dims = linear.weight.shape
        self.linear = linear
        self.linear.freeze()
        self.scale = scale
        bound = 1.0 / math.sqrt(input_dims)
        self.lora_a = mx.random.uniform(-bound, bound, (input_dims, rank))
        self.lora_b = mx.zeros((rank, output_dims))

    def __call__(self, x: mx.array) -> mx.array:
        """(..., input_dims) -> (..., output_dims)."""
        change = (x @ self.lora_a) @ self.lora_b
        output: mx.array = self.linear(x) + self.scale * change
        return output

    def merged(self) -> nn.Linear:
        """A plain linear layer that computes the same: `W + scale (A B)^T`."""
        output_dims, input_dims = self.linear.weight.shape
        bias = "bias" in self.linear
        plain = nn.Linear(input_dims, output_dims, bias=bias)
        plain.weight = self.linear.weight + self.scale * (self.lora_a @ self.lora_b).T
        if bias:
            plain.bias = self.linear.bias
        return plain


def apply(model: nn.Module, section: PeftSection) -> None:
    """Put a LoRALinear in the place of each chosen linear layer.

    Raises:
        ConfigError: If no linear layer is chosen.
    """
    chosen = linear_layers(model, section.keys or DEFAULT_KEYS, section.num_layers)
    replace(
        model,
        {
            path: LoRALinear(layer, section.rank, section.scale)
            for path, layer in chosen.items()
        },
    )


def merge(model: nn.Module) -> None:
    """Put a plain linear layer in the place of each LoRALinear."""
    replace(
        model,
        {
            path: module.merged()
            for path, module in model.named_modules()
            if isinstance(module, LoRALinear)
        },
    )
