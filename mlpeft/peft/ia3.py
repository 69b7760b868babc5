"""IA3: scales each chosen linear layer's output, or input, by a learned vector.

It scales the outputs of keys and values, and the inputs of the feed-forward network's
last layer: Hugging Face PEFT's `target_modules` and `feedforward_modules`.

References:
    Liu et al., "Few-Shot Parameter-Efficient Fine-Tuning is Better and Cheaper than
    In-Context Learning", 2022, arXiv 2205.05638.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import mlx.core as mx

from mlpeft.peft.linear import plain, sizes, weight
from mlpeft.peft.method import AdaptedLinear, Method
from mlpeft.peft.targets import linear_layers, matches, replace

if TYPE_CHECKING:
    from collections.abc import Mapping

    import mlx.nn as nn
    import numpy as np

    from mlpeft.config import PeftSection
    from mlpeft.peft.linear import Linear
    from mlpeft.peft.method import Setting

FEEDFORWARD_KEYS = ("layers.[0-9].output", "layers.[0-9][0-9].output", "down_proj")
"""The last layer of each feed-forward network."""
DEFAULT_KEYS = ("key", "value", "k_proj", "v_proj", *FEEDFORWARD_KEYS)


class IA3Linear(AdaptedLinear):
    """`y = l * linear(x)`, or for a feed-forward layer `y = linear(l * x)`.

    l starts as ones, so the layer starts unchanged.

    Args:
        linear: The layer to wrap; frozen here.
        feedforward: Whether the input is scaled instead of the output.
    """

    def __init__(self, linear: Linear, *, feedforward: bool) -> None:
        super().__init__(linear)
        self.feedforward = feedforward
        self.ia3_l = mx.ones((sizes(linear)[1 if feedforward else 0],))

    def __call__(self, x: mx.array) -> mx.array:
        """(..., input_dims) -> (..., output_dims)."""
        scale = self.ia3_l.astype(x.dtype)
        output: mx.array = (
            self.linear(scale * x) if self.feedforward else scale * self.linear(x)
        )
        return output

    def merged(self) -> nn.Linear:
        """An equivalent plain linear layer."""
        matrix, bias = weight(self.linear), self.linear.get("bias")
        scale = self.ia3_l.astype(matrix.dtype)
        if self.feedforward:
            return plain(matrix * scale, bias)
        return plain(matrix * scale[:, None], None if bias is None else bias * scale)


class IA3(Method):
    """Wraps each chosen linear layer in an IA3Linear."""

    name = "ia3"
    hf_type = "IA3"
    hf_leaves: ClassVar[dict[str, str]] = {"ia3_l": "ia3_l"}

    def apply(self, model: nn.Module, section: PeftSection) -> None:
        """Wrap the layers.

        Raises:
            ConfigError: If no linear layer is chosen.
        """
        chosen = linear_layers(model, section.keys, DEFAULT_KEYS, section.num_layers)
        feedforward = section.feedforward_keys
        if feedforward is None:
            feedforward = list(FEEDFORWARD_KEYS)
        replace(
            model,
            {
                path: IA3Linear(layer, feedforward=matches(path, feedforward))
                for path, layer in chosen.items()
            },
        )

    def to_hf(self, layer: AdaptedLinear, name: str) -> mx.array:
        """Hugging Face PEFT has a column, for a feed-forward layer a row."""
        leaf: mx.array = layer[name]
        return leaf[None] if layer.feedforward else leaf[:, None]

    def from_hf(self, name: str, leaf: np.ndarray) -> np.ndarray:
        """Hugging Face PEFT has a column, for a feed-forward layer a row."""
        return leaf.ravel()

    def hf_settings(
        self, section: PeftSection, layers: Mapping[str, AdaptedLinear]
    ) -> dict[str, Setting]:
        """The feed-forward layers."""
        paths = [path for path, layer in layers.items() if layer.feedforward]
        return {"feedforward_modules": paths, "fan_in_fan_out": False}

    def hf_section(
        self, settings: Mapping[str, Setting], leaves: Mapping[str, np.ndarray]
    ) -> dict[str, Setting]:
        """The feed-forward layers: those whose vector is a row."""
        rows = [path for path, leaf in leaves.items() if leaf.shape[0] == 1]
        return {"feedforward_keys": [path.rpartition(".")[0] for path in rows]}
