"""Activations, with gradients taken from their outputs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import mlx.core as mx

from mlpeft.models.ops.rational import has_vector_functions
from mlpeft.models.ops.transforms import batched

if TYPE_CHECKING:
    from collections.abc import Sequence

# tanh(x) / x as a ratio of polynomials in x^2, the largest relative error over
# |x| <= 7.9 made least (Lawson's algorithm): 1.3e-7, about one rounding. Constants
# first. From 7.9 on tanh is 1 to float32 precision.
_TANH_END: Final = 7.9
_TANH_TOP: Final = (0.999999881, 0.129344195, 0.00296047493, 1.15318535e-05)
_TANH_BOTTOM: Final = (1.0, 0.462676466, 0.0238540899, 0.000240012261, 2.49255237e-07)


def relu(x: mx.array) -> mx.array:
    """`max(x, 0)`."""
    output: mx.array = _RELU(x)
    return output


def tanh(x: mx.array) -> mx.array:
    """Hyperbolic tangent.

    On Linux's CPU `mx.tanh` calls the C library for one element after another; there a
    rational function stands in for it, within 8 units in the last place, which
    `mx.compile` fuses into one vectorised loop.
    """
    output: mx.array = _TANH(x)
    return output


def _relu(x: mx.array) -> mx.array:
    return mx.maximum(x, 0.0)


def _relu_vjp(_: Sequence[mx.array], dy: mx.array, y: mx.array) -> mx.array:
    return mx.where(y > 0, dy, 0.0)


def _tanh(x: mx.array) -> mx.array:
    if has_vector_functions():
        return mx.tanh(x)
    x = mx.minimum(mx.maximum(x, -_TANH_END), _TANH_END)
    t = mx.square(x)
    t2 = mx.square(t)
    p0, p1, p2, p3 = _TANH_TOP
    q0, q1, q2, q3, q4 = _TANH_BOTTOM
    # Estrin's scheme: Horner's is deeper than what mx.compile fuses into one kernel.
    top = (p0 + p1 * t) + (p2 + p3 * t) * t2
    bottom = (q0 + q1 * t) + (q2 + q3 * t) * t2 + q4 * mx.square(t2)
    return x * top / bottom


def _tanh_vjp(_: Sequence[mx.array], dy: mx.array, y: mx.array) -> mx.array:
    return dy * (1.0 - mx.square(y))


_RELU = batched(_relu, _relu_vjp)
_TANH = batched(_tanh, _tanh_vjp)
