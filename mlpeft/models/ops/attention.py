"""Scaled dot-product attention."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import mlx.core as mx

from mlpeft.models.ops.activations import has_vector_functions
from mlpeft.models.ops.compiled import compiled
from mlpeft.models.ops.transforms import differentiable

if TYPE_CHECKING:
    from collections.abc import Sequence

_HALVINGS: Final = 5
_LOWEST: Final = -40.0
_MASKED: Final = -1e30


def attention(
    queries: mx.array,
    keys: mx.array,
    values: mx.array,
    mask: mx.array,
    *,
    forward: bool = False,
) -> mx.array:
    """`softmax(queries keys^T / sqrt(size)) values` over the unmasked keys.

    Args:
        queries: (n, heads, length, size).
        keys: (n, heads, length, size).
        values: (n, heads, length, size).
        mask: Broadcasts to (n, heads, length, length); True where a query attends to a
            key. Each query attends to at least one.
        forward: Whether no gradient is asked for: then it is faster.

    Returns:
        (n, heads, length, size).
    """
    scale: float = queries.shape[-1] ** -0.5
    if has_vector_functions():
        return mx.fast.scaled_dot_product_attention(
            queries, keys, values, scale=scale, mask=mask
        )
    scores = (queries * scale) @ keys.swapaxes(-1, -2)
    weights: mx.array = (_SOFTMAX_FORWARD if forward else _SOFTMAX)(scores, mask)
    return weights @ values


def _softmax(scores: mx.array, mask: mx.array) -> mx.array:
    """Over the last axis, where the mask is True; 0 elsewhere."""
    scores = mx.where(mask, scores, _MASKED)
    largest = mx.max(scores, axis=-1, keepdims=True)
    powers = _exp(scores - largest) * mask
    return powers / mx.maximum(mx.sum(powers, axis=-1, keepdims=True), 1e-30)


def _softmax_vjp(
    primals: Sequence[mx.array], dy: mx.array, y: mx.array
) -> tuple[mx.array, mx.array]:
    product = dy * y
    dscores = product - y * mx.sum(product, axis=-1, keepdims=True)
    return dscores, mx.zeros_like(primals[1])


def _exp(x: mx.array) -> mx.array:
    """`exp(x)` for x <= 0 within 1e-6, in operations that vectorise.

    d = `exp(x / 32) - 1` is a Pade approximation of order 4, squared five times as
    `(1 + d)^2 - 1 = d (2 + d)`. Working with `exp - 1` keeps rounding errors small.
    """
    u = mx.maximum(x, _LOWEST) * 2.0**-_HALVINGS
    u2 = mx.square(u)
    even = 1680.0 + 180.0 * u2 + mx.square(u2)
    odd = u * (840.0 + 20.0 * u2)
    d = 2.0 * odd / (even - odd)
    for _ in range(_HALVINGS):
        d = d * (2.0 + d)
    return mx.maximum(1.0 + d, 0.0)


def _plain_softmax(scores: mx.array, mask: mx.array) -> mx.array:
    return mx.softmax(mx.where(mask, scores, _MASKED), axis=-1)


_SOFTMAX = differentiable(_softmax, _softmax_vjp, _plain_softmax)
_SOFTMAX_FORWARD = compiled(_softmax)
