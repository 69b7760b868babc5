"""Linear layers, quantised or not: their sizes, weights and merged equivalents."""

from __future__ import annotations

from typing import Protocol, TypeAlias, TypeGuard, runtime_checkable

import mlx.core as mx
import mlx.nn as nn

Linear: TypeAlias = nn.Linear | nn.QuantizedLinear


@runtime_checkable
class Mergeable(Protocol):
    """An adapted layer with an equivalent plain linear layer."""

    def merged(self) -> nn.Linear:
        """The equivalent plain layer."""
        ...


def mergeable(module: object) -> TypeGuard[Mergeable]:
    """Whether a module has an equivalent plain layer."""
    return isinstance(module, Mergeable)


def is_linear(module: object) -> TypeGuard[Linear]:
    """Whether a module is a linear layer, quantised or not."""
    kinds = nn.Linear | nn.QuantizedLinear
    # A subclass with an adapter of its own returns something else than an array.
    return isinstance(module, kinds) and not hasattr(module, "to_lora")


def is_experts(module: nn.Module) -> bool:
    """Whether a module is mlx-lm's SwitchLinear: a linear layer for each expert."""
    weight = module.get("weight")
    return weight is not None and weight.ndim == 3 and hasattr(module, "num_experts")


def sizes(linear: Linear) -> tuple[int, int]:
    """The layer's output and input dimensions."""
    outputs, inputs = linear.weight.shape
    if isinstance(linear, nn.QuantizedLinear):
        inputs = inputs * 32 // linear.bits
    return outputs, inputs


def weight(linear: Linear) -> mx.array:
    """The (..., outputs, inputs) weight; dequantised if the layer is quantised."""
    if "scales" not in linear:
        matrix: mx.array = linear.weight
        return matrix
    return mx.dequantize(
        linear.weight,
        linear.scales,
        linear.get("biases"),
        group_size=linear.group_size,
        bits=linear.bits,
        mode=linear.mode,
    )


def plain(matrix: mx.array, bias: mx.array | None) -> nn.Linear:
    """A linear layer with this (outputs, inputs) weight and this bias."""
    layer = nn.Linear(1, 1, bias=bias is not None)
    layer.weight = matrix
    if bias is not None:
        layer.bias = bias
    return layer
