"""Linear layers as the methods see them: quantised or not, merged or not."""

from __future__ import annotations

from typing import Protocol, TypeAlias, TypeGuard, runtime_checkable

import mlx.core as mx
import mlx.nn as nn

Linear: TypeAlias = nn.Linear | nn.QuantizedLinear


@runtime_checkable
class Mergeable(Protocol):
    """A layer of a method that a plain linear layer can stand in for."""

    def merged(self) -> nn.Linear:
        """A plain layer that computes the same."""
        ...


def mergeable(module: object) -> TypeGuard[Mergeable]:
    """Whether a module has an equivalent plain layer."""
    return isinstance(module, Mergeable)


def sizes(linear: Linear) -> tuple[int, int]:
    """Numbers in one output and in one input of the layer."""
    outputs, inputs = linear.weight.shape
    if isinstance(linear, nn.QuantizedLinear):
        inputs = inputs * 32 // linear.bits
    return outputs, inputs


def weight(linear: Linear) -> mx.array:
    """The (outputs, inputs) weight; that of a quantised layer dequantised."""
    if not isinstance(linear, nn.QuantizedLinear):
        found: mx.array = linear.weight
        return found
    return mx.dequantize(
        linear.weight,
        linear.scales,
        linear.get("biases"),
        group_size=linear.group_size,
        bits=linear.bits,
        mode=linear.mode,
    )


def plain(matrix: mx.array, bias: mx.array | None) -> nn.Linear:
    """A linear layer of this (outputs, inputs) weight and this bias."""
    layer = nn.Linear(1, 1, bias=bias is not None)
    layer.weight = matrix
    if bias is not None:
        layer.bias = bias
    return layer
