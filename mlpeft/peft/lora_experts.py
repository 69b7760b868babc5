"""LoRA of the experts of a mixture: a low-rank change for each expert's linear layer.

Names and layout are those of mlx-lm's LoRASwitchLinear.
"""

from __future__ import annotations

import copy
import math
from typing import TYPE_CHECKING

import mlx.core as mx
import mlx.nn as nn

from mlpeft.peft.linear import weight
from mlpeft.peft.method import AdaptedLinear

if TYPE_CHECKING:
    from mlpeft.peft.linear import Linear


class LoRAExperts(AdaptedLinear):
    """`y = experts(x, e) + scale B_e (A_e x)`, B zero at the start.

    Args:
        experts: The layer to wrap, mlx-lm's SwitchLinear; frozen here.
        rank: Inner dimension of the product B A of each expert.
        scale: Factor of the low-rank change.
        dropout: Probability of dropping an input of the low-rank change; in training
            mode only.
    """

    def __init__(
        self,
        experts: Linear,
        rank: int = 8,
        scale: float = 2.0,
        dropout: float = 0.0,
    ) -> None:
        super().__init__(experts)
        count, input_dims = experts.num_experts, experts.input_dims
        self.scale = scale
        self.dropout = nn.Dropout(dropout)
        bound = 1.0 / math.sqrt(input_dims)
        self.lora_a = mx.random.uniform(-bound, bound, (count, rank, input_dims))
        self.lora_b = mx.zeros((count, experts.output_dims, rank))

    def __call__(
        self,
        x: mx.array,
        indices: mx.array,
        sorted_indices: bool = False,
    ) -> mx.array:
        """(..., 1, input_dims) and the experts' numbers -> (..., 1, output_dims)."""
        base = self.linear(x, indices, sorted_indices=sorted_indices)
        low = self.dropout(x)
        for leaf in (self.lora_a, self.lora_b):
            low = mx.gather_mm(
                low,
                leaf.swapaxes(-1, -2),
                rhs_indices=indices,
                sorted_indices=sorted_indices,
            )
        output: mx.array = base + (self.scale * low).astype(base.dtype)
        return output

    def merged(self) -> nn.Module:
        """An equivalent plain layer."""
        base = weight(self.linear)
        change = (self.scale * (self.lora_b @ self.lora_a)).astype(base.dtype)
        return _plain_experts(self.linear, base + change)


def _plain_experts(layer: nn.Module, matrices: mx.array) -> nn.Module:
    """A layer of experts with these (experts, outputs, inputs) weights."""
    if "scales" not in layer:
        plain = copy.copy(layer)
    else:
        from mlx_lm.models.switch_layers import SwitchLinear

        plain = SwitchLinear(1, 1, 1, bias="bias" in layer)
        if "bias" in layer:
            plain.bias = layer.bias
    plain.weight = matrices
    return plain
