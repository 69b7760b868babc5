"""Activations, with gradients taken from their outputs."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Final

import mlx.core as mx

from mlpeft.models.ops.batched import batched

if TYPE_CHECKING:
    from collections.abc import Sequence

# tanh(x) / x as a ratio of polynomials in x^2, the largest relative error over
# |x| <= 7.9 made least (Lawson's algorithm): 2e-8, below float32 rounding. Constants
# first. From 7.9 on tanh is 1 to float32 precision.
_TANH_END: Final = 7.9
_TANH_TOP: Final = (
    1.0,
    0.12984921,
    0.00299210846,
    9.9392837e-06,
    -1.4906508e-08,
    2.41058024e-11,
)
_TANH_BOTTOM: Final = (1.0, 0.46318239, 0.0240531396, 0.000238088352)


def relu(x: mx.array) -> mx.array:
    """`max(x, 0)`."""
    output: mx.array = _RELU(x)
    return output


def tanh(x: mx.array) -> mx.array:
    """Hyperbolic tangent.

    On Linux's CPU `mx.tanh` calls the C library for one element after another; there a
    rational function stands in for it, within 6 units in the last place, which
    `mx.compile` fuses into one vectorised loop.
    """
    output: mx.array = _TANH(x)
    return output


def _relu(x: mx.array) -> mx.array:
    return mx.maximum(x, 0.0)


def _relu_vjp(_: Sequence[mx.array], dy: mx.array, y: mx.array) -> mx.array:
    return mx.where(y > 0, dy, 0.0)


def _tanh(x: mx.array) -> mx.array:
    if _has_vector_tanh():
        return mx.tanh(x)
    x = mx.minimum(mx.maximum(x, -_TANH_END), _TANH_END)
    square = mx.square(x)
    return x * _polynomial(square, _TANH_TOP) / _polynomial(square, _TANH_BOTTOM)


def _tanh_vjp(_: Sequence[mx.array], dy: mx.array, y: mx.array) -> mx.array:
    return dy * (1.0 - mx.square(y))


def _has_vector_tanh() -> bool:
    """Whether MLX's own tanh is vectorised: Metal, Accelerate, CUDA."""
    return sys.platform == "darwin" or mx.default_device().type != mx.DeviceType.cpu


def _polynomial(x: mx.array, coefficients: Sequence[float]) -> mx.array:
    """`c0 + c1 x + c2 x^2 + ...` by Horner's scheme."""
    total = x * coefficients[-1] + coefficients[-2]
    for coefficient in coefficients[-3::-1]:
        total = total * x + coefficient
    return total


_RELU = batched(_relu, _relu_vjp)
_TANH = batched(_tanh, _tanh_vjp)
