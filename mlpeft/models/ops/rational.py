"""Ratios of polynomials that `mx.compile` fuses into one vectorised loop.

On Linux's CPU MLX calls the C library for one element after another where a formula has
tanh, erf or exp. These stand in for them there.
"""

from __future__ import annotations

import sys
from typing import TypeAlias

import mlx.core as mx

Six: TypeAlias = tuple[float, float, float, float, float, float]


def has_vector_functions() -> bool:
    """Whether MLX's own tanh, erf and exp are vectorised: Metal, Accelerate, CUDA."""
    return sys.platform == "darwin" or mx.default_device().type != mx.DeviceType.cpu


def odd_ratio(x: mx.array, end: float, top: Six, bottom: Six) -> mx.array:
    """`x top(x^2) / bottom(x^2)`, x held to |x| <= end; constants first."""
    x = mx.minimum(mx.maximum(x, -end), end)
    t = mx.square(x)
    t2 = mx.square(t)
    t4 = mx.square(t2)
    return x * _sextic(top, t, t2, t4) / _sextic(bottom, t, t2, t4)


def _sextic(c: Six, t: mx.array, t2: mx.array, t4: mx.array) -> mx.array:
    # Estrin's scheme: Horner's is deeper than what mx.compile fuses into one kernel.
    return (c[0] + c[1] * t) + (c[2] + c[3] * t) * t2 + (c[4] + c[5] * t) * t4
