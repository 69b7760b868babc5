"""DoRA: LoRA of a weight's direction, with its magnitude as a separate leaf.

Names and layout are mlx-lm's; Hugging Face PEFT calls `m` `lora_magnitude_vector`.

References:
    Liu et al., "DoRA: Weight-Decomposed Low-Rank Adaptation", 2024, arXiv 2402.09353.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import mlx.core as mx

from mlpeft.peft.linear import plain, weight
from mlpeft.peft.lora import DEFAULT_KEYS, LoRA, LoRALinear
from mlpeft.peft.targets import linear_layers, replace

if TYPE_CHECKING:
    import mlx.nn as nn

    from mlpeft.config import PeftSection
    from mlpeft.peft.linear import Linear


class DoRALinear(LoRALinear):
    """`y = x W'^T + b` with `W' = m V / |V|`, `V = W + scale (A B)^T`.

    |V| is the Euclidean norm of each row and, as in the paper (section 4.3), has no
    gradient. m starts as |W|, so the layer starts unchanged.

    Args:
        linear: The layer to wrap; frozen here.
        rank: Inner dimension of the product A B.
        scale: Factor of the low-rank change.
        dropout: As for `LoRALinear`.
    """

    def __init__(
        self,
        linear: Linear,
        rank: int = 8,
        scale: float = 2.0,
        dropout: float = 0.0,
    ) -> None:
        super().__init__(linear, rank, scale, dropout)
        self.m = _row_norms(weight(linear))

    def __call__(self, x: mx.array) -> mx.array:
        """(..., input_dims) -> (..., output_dims)."""
        base = x @ weight(self.linear).T
        scaled = self._magnitude_ratio() * (base + self.low_rank_output(x))
        output: mx.array = scaled.astype(base.dtype)
        return output + self.linear.bias if "bias" in self.linear else output

    def merged(self) -> nn.Linear:
        """An equivalent plain linear layer."""
        adapted = self.adapted_weight()
        matrix = (self._magnitude_ratio()[:, None] * adapted).astype(adapted.dtype)
        return plain(matrix, self.linear.get("bias"))

    def _magnitude_ratio(self) -> mx.array:
        """`m / |V|`, (output_dims,)."""
        ratio: mx.array = self.m / mx.stop_gradient(_row_norms(self.adapted_weight()))
        return ratio


def _row_norms(matrix: mx.array) -> mx.array:
    return mx.linalg.norm(matrix.astype(mx.float32), axis=1)


class DoRA(LoRA):
    """Wraps each chosen linear layer in a DoRALinear."""

    name = "dora"
    hf_leaves: ClassVar[dict[str, str]] = LoRA.hf_leaves | {
        "m": "lora_magnitude_vector"
    }

    def apply(self, model: nn.Module, section: PeftSection) -> None:
        """Wrap the layers.

        Raises:
            ConfigError: If no linear layer is chosen.
        """
        chosen = linear_layers(model, section.keys, DEFAULT_KEYS, section.num_layers)
        replace(
            model,
            {
                path: DoRALinear(layer, section.rank, section.factor, section.dropout)
                for path, layer in chosen.items()
            },
        )
