"""LoRA: adds a low-rank change to each chosen linear layer.

Names and layout are mlx-lm's. Its `scale` multiplies directly; Hugging Face PEFT's is
`lora_alpha / r`, or `lora_alpha / sqrt(r)` if rank-stabilised (rsLoRA). PEFT's `lora_A`
(r, input_dims) and `lora_B` are the transposes of ours.

References:
    Hu et al., "LoRA: Low-Rank Adaptation of Large Language Models", 2021,
    arXiv 2106.09685.
    Kalajdzievski, "A Rank Stabilization Scaling Factor for Fine-Tuning with LoRA",
    2023, arXiv 2312.03732.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, ClassVar

import mlx.core as mx
import mlx.nn as nn
import numpy as np

from mlpeft.peft.linear import is_experts, plain, sizes, weight
from mlpeft.peft.lora_experts import LoRAExperts
from mlpeft.peft.method import AdaptedLinear, Method
from mlpeft.peft.targets import linear_layers, replace

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mlpeft.config import PeftSection
    from mlpeft.peft.linear import Linear
    from mlpeft.peft.method import Setting

DEFAULT_KEYS = ("query", "value", "q_proj", "v_proj")
"""As in the paper: the projections to queries and values."""


class LoRALinear(AdaptedLinear):
    """`y = linear(x) + scale (x A) B`, with A random and B zero at the start.

    Args:
        linear: The layer to wrap; frozen here.
        rank: Inner dimension of the product A B.
        scale: Factor of the low-rank change.
        dropout: Probability of dropping an input of the low-rank change; in training
            mode only.
    """

    def __init__(
        self,
        linear: Linear,
        rank: int = 8,
        scale: float = 2.0,
        dropout: float = 0.0,
    ) -> None:
        super().__init__(linear)
        output_dims, input_dims = sizes(linear)
        self.scale = scale
        self.dropout = nn.Dropout(dropout)
        bound = 1.0 / math.sqrt(input_dims)
        self.lora_a = mx.random.uniform(-bound, bound, (input_dims, rank))
        self.lora_b = mx.zeros((rank, output_dims))

    def __call__(self, x: mx.array) -> mx.array:
        """(..., input_dims) -> (..., output_dims)."""
        base = self.linear(x)
        output: mx.array = base + self.low_rank_output(x).astype(base.dtype)
        return output

    def low_rank_output(self, x: mx.array) -> mx.array:
        """`scale (x A) B`, (..., output_dims)."""
        output: mx.array = self.scale * ((self.dropout(x) @ self.lora_a) @ self.lora_b)
        return output

    def adapted_weight(self) -> mx.array:
        """`W + scale (A B)^T`, (output_dims, input_dims)."""
        base = weight(self.linear)
        return base + (self.scale * (self.lora_a @ self.lora_b).T).astype(base.dtype)

    def merged(self) -> nn.Linear:
        """An equivalent plain linear layer."""
        return plain(self.adapted_weight(), self.linear.get("bias"))


class LoRA(Method):
    """Wraps each chosen linear layer in a LoRALinear."""

    name = "lora"
    hf_type = "LORA"
    hf_leaves: ClassVar[dict[str, str]] = {
        "lora_a": "lora_A.weight",
        "lora_b": "lora_B.weight",
    }

    def apply(self, model: nn.Module, section: PeftSection) -> None:
        """Wrap the layers.

        Raises:
            ConfigError: If no linear layer is chosen.
        """
        chosen = linear_layers(
            model, section.keys, DEFAULT_KEYS, section.num_layers, experts=True
        )
        settings = section.rank, section.factor, section.dropout
        replace(
            model,
            {
                path: (LoRAExperts if is_experts(layer) else LoRALinear)(
                    layer, *settings
                )
                for path, layer in chosen.items()
            },
        )

    def to_hf(self, layer: AdaptedLinear, name: str) -> mx.array:
        """Hugging Face PEFT transposes A and B."""
        leaf: mx.array = layer[name]
        return leaf.T

    def from_hf(self, name: str, leaf: np.ndarray) -> np.ndarray:
        """Hugging Face PEFT transposes A and B."""
        return np.ascontiguousarray(leaf.T)

    def hf_settings(
        self, section: PeftSection, layers: Mapping[str, AdaptedLinear]
    ) -> dict[str, Setting]:
        """Rank and factor."""
        root = math.sqrt(section.rank) if section.rslora else section.rank
        return {
            "r": section.rank,
            "lora_alpha": section.factor * root,
            "use_rslora": section.rslora,
            "use_dora": self.name == "dora",
            "lora_dropout": section.dropout,
            "bias": "none",
            "fan_in_fan_out": False,
        }

    def hf_section(
        self, settings: Mapping[str, Setting], leaves: Mapping[str, np.ndarray]
    ) -> dict[str, Setting]:
        """Rank and factor; where they are missing, Hugging Face PEFT's defaults."""
        return {
            "rank": settings.get("r", 8),
            "alpha": settings.get("lora_alpha", 8),
            "rslora": settings.get("use_rslora", False),
            "dropout": settings.get("lora_dropout", 0.0),
        }
