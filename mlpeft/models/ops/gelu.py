"""The Gaussian error linear unit.

References:
    Hendrycks and Gimpel, "Gaussian Error Linear Units", 2016, arXiv 1606.08415.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import mlx.core as mx
import mlx.nn as nn

from mlpeft.models.ops.rational import has_vector_functions, odd_ratio
from mlpeft.models.ops.transforms import batched

if TYPE_CHECKING:
    from mlpeft.models.ops.rational import Six

# Phi(x) - 1/2, and the derivative of x Phi(x) less 1/2, both odd, as x times a ratio in
# x^2 with the largest error made least (Lawson's algorithm): 7e-9 and 1.1e-7, in
# float32 arithmetic 2e-7 and 4e-7. From the ends on they are 1/2 to float32 precision.
_PHI_END: Final = 5.5
_PHI_TOP: Final[Six] = (
    0.398942235,
    0.0338527394,
    0.00467726623,
    0.000168826612,
    6.35212382e-06,
    2.27493292e-08,
)
_PHI_BOTTOM: Final[Six] = (
    1.0,
    0.251522152,
    0.0286459245,
    0.00188445009,
    7.36478021e-05,
    1.19750332e-06,
)
_SLOPE_END: Final = 5.8
_SLOPE_TOP: Final[Six] = (
    0.797885361,
    -0.0309957348,
    0.0142302945,
    1.92230123e-05,
    3.5955848e-05,
    1.92927835e-07,
)
_SLOPE_BOTTOM: Final[Six] = (
    1.0,
    0.294494191,
    0.0409802487,
    0.0035230377,
    0.000192036978,
    8.95237208e-06,
)


def gelu(x: mx.array) -> mx.array:
    """`x Phi(x)`, Phi the distribution function of the standard normal.

    On Linux's CPU a rational function stands in for the error function, within 1e-6
    for |x| <= 5 and within 2e-7 of |x| beyond.
    """
    output: mx.array = _GELU(x)
    return output


def _gelu(x: mx.array) -> mx.array:
    if has_vector_functions():
        output: mx.array = nn.gelu(x)
        return output
    return x * (0.5 + odd_ratio(x, _PHI_END, _PHI_TOP, _PHI_BOTTOM))


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


_GELU = batched(_gelu, _gelu_vjp)
