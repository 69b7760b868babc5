"""Activations with hand-written gradients and vectorisation."""

from __future__ import annotations

import math
import sys
from typing import TYPE_CHECKING, Final, TypeAlias

import mlx.core as mx
import mlx.nn as nn

from mlpeft.models.ops.compiled import compiled
from mlpeft.models.ops.transforms import batched

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

# tanh(x) / x as a ratio of polynomials in x^2, minimax in the relative error over
# |x| <= 7.9 (Lawson's algorithm): 1.3e-7, about one rounding. Lowest order first.
# Beyond 7.9 tanh is 1 in float32.
_TANH_END: Final = 7.9
_TANH_TOP: Final = (0.999999881, 0.129344195, 0.00296047493, 1.15318535e-05)
_TANH_BOTTOM: Final = (1.0, 0.462676466, 0.0238540899, 0.000240012261, 2.49255237e-07)


def relu(x: mx.array) -> mx.array:
    """`max(x, 0)`."""
    return _RELU(x)


def tanh(x: mx.array) -> mx.array:
    """Hyperbolic tangent.

    On a Linux CPU `mx.tanh` calls the C library element by element. There we use a
    rational approximation, within 8 units in the last place, which `mx.compile` fuses
    into one vectorised loop.
    """
    return _TANH(x)


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
    # Estrin's scheme: Horner's is too deep for mx.compile to fuse into one kernel.
    top = (p0 + p1 * t) + (p2 + p3 * t) * t2
    bottom = (q0 + q1 * t) + (q2 + q3 * t) * t2 + q4 * mx.square(t2)
    return x * top / bottom


def _plain_tanh(x: mx.array) -> mx.array:
    return mx.tanh(x)


def _tanh_vjp(_: Sequence[mx.array], dy: mx.array, y: mx.array) -> mx.array:
    return dy * (1.0 - mx.square(y))


_RELU = batched(_relu, _relu_vjp)
_TANH = batched(_tanh, _tanh_vjp, _plain_tanh)


Coefficients: TypeAlias = tuple[float, float, float, float, float, float]


def has_vector_functions() -> bool:
    """Whether MLX vectorises tanh, erf and exp: on Metal, Accelerate and CUDA."""
    return sys.platform == "darwin" or mx.default_device().type != mx.DeviceType.cpu


def odd_ratio(
    x: mx.array, end: float, top: Coefficients, bottom: Coefficients
) -> mx.array:
    """`x top(x^2) / bottom(x^2)`, x clipped to |x| <= end; lowest order first."""
    x = mx.minimum(mx.maximum(x, -end), end)
    t = mx.square(x)
    t2 = mx.square(t)
    t4 = mx.square(t2)
    return x * _quintic(top, t, t2, t4) / _quintic(bottom, t, t2, t4)


def _quintic(c: Coefficients, t: mx.array, t2: mx.array, t4: mx.array) -> mx.array:
    # Estrin's scheme: Horner's is too deep for mx.compile to fuse into one kernel.
    return (c[0] + c[1] * t) + (c[2] + c[3] * t) * t2 + (c[4] + c[5] * t) * t4


# Phi(x) - 1/2, and the derivative of x Phi(x) minus 1/2, are odd. Each is x times a
# ratio in x^2, minimax in the absolute error (Lawson's algorithm): 7e-9 and 1.1e-7, in
# float32 arithmetic 2e-7 and 4e-7. Beyond the ends they are 1/2 in float32.
_PHI_END: Final = 5.5
_PHI_TOP: Final[Coefficients] = (
    0.398942235,
    0.0338527394,
    0.00467726623,
    0.000168826612,
    6.35212382e-06,
    2.27493292e-08,
)
_PHI_BOTTOM: Final[Coefficients] = (
    1.0,
    0.251522152,
    0.0286459245,
    0.00188445009,
    7.36478021e-05,
    1.19750332e-06,
)
_SLOPE_END: Final = 5.8
_SLOPE_TOP: Final[Coefficients] = (
    0.797885361,
    -0.0309957348,
    0.0142302945,
    1.92230123e-05,
    3.5955848e-05,
    1.92927835e-07,
)
_SLOPE_BOTTOM: Final[Coefficients] = (
    1.0,
    0.294494191,
    0.0409802487,
    0.0035230377,
    0.000192036978,
    8.95237208e-06,
)


def gelu(x: mx.array) -> mx.array:
    """`x Phi(x)`, Phi being the distribution function of the standard normal.

    On a Linux CPU a rational function approximates the error function: within 1e-6 for
    |x| <= 5, within 2e-7 of |x| beyond.
    """
    return _GELU(x)


def _gelu(x: mx.array) -> mx.array:
    if has_vector_functions():
        return _plain_gelu(x)
    return x * (0.5 + odd_ratio(x, _PHI_END, _PHI_TOP, _PHI_BOTTOM))


def _plain_gelu(x: mx.array) -> mx.array:
    output: mx.array = nn.gelu(x)
    return output


def _gelu_vjp(primals: mx.array, dy: mx.array, _: mx.array) -> mx.array:
    # MLX unpacks a single argument.
    return dy * mx.array(_slope(primals))


@batched
def _slope(x: mx.array) -> mx.array:
    """`Phi(x) + x phi(x)`."""
    if has_vector_functions():
        density = mx.exp(-0.5 * mx.square(x)) * (1.0 / math.sqrt(2.0 * math.pi))
        return 0.5 * (1.0 + mx.erf(x * math.sqrt(0.5))) + x * density
    return 0.5 + odd_ratio(x, _SLOPE_END, _SLOPE_TOP, _SLOPE_BOTTOM)


_GELU = batched(_gelu, _gelu_vjp, _plain_gelu)

gelu_forward: Final[Callable[[mx.array], mx.array]] = compiled(_gelu)
"""`gelu` where no gradient is asked for: one pass over memory in place of thirty.

Not shapeless: that kernel computes an index for each element, and is no faster.
"""
