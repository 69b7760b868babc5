"""Batch normalisation with the statistics of the batch."""

from __future__ import annotations

from typing import TYPE_CHECKING

import mlx.core as mx

from mlpeft.models.ops.batched import batched

if TYPE_CHECKING:
    from collections.abc import Sequence

EPS = 1e-3
"""Added to the variance, as in the paper's code."""


def batch_norm(x: mx.array, gamma: mx.array, beta: mx.array) -> mx.array:
    """`gamma (x - mean) / sqrt(var + 1e-3) + beta` with the statistics of this batch.

    Args:
        x: (n, h, w, c); mean and (biased) variance are over n, h and w.
        gamma: (c,) scale.
        beta: (c,) shift.

    References:
        Ioffe and Szegedy, "Batch Normalization", 2015, arXiv 1502.03167, algorithm 1.
    """
    output: mx.array = _BATCH_NORM(x, gamma, beta)
    return output


def batch_norm_relu(x: mx.array, gamma: mx.array, beta: mx.array) -> mx.array:
    """`max(batch_norm(x), 0)` in fewer passes over memory.

    Args:
        x: (n, h, w, c).
        gamma: (c,) scale.
        beta: (c,) shift.
    """
    output: mx.array = _BATCH_NORM_RELU(x, gamma, beta)
    return output


def _batch_norm(x: mx.array, gamma: mx.array, beta: mx.array) -> mx.array:
    centred, inverse = _standardise(x)
    return centred * (inverse * _channels(gamma)) + _channels(beta)


def _batch_norm_vjp(
    primals: Sequence[mx.array], dy: mx.array, _: mx.array
) -> tuple[mx.array, mx.array, mx.array]:
    x, gamma, _beta = primals
    dx, dgamma, dbeta = _gradients(x, gamma, dy)
    return dx, dgamma, dbeta


def _batch_norm_relu(x: mx.array, gamma: mx.array, beta: mx.array) -> mx.array:
    centred, inverse = _standardise(x)
    normalised = centred * (inverse * _channels(gamma)) + _channels(beta)
    return mx.maximum(normalised, 0.0)


def _batch_norm_relu_vjp(
    primals: Sequence[mx.array], dy: mx.array, y: mx.array
) -> tuple[mx.array, mx.array, mx.array]:
    x, gamma, _beta = primals
    dx, dgamma, dbeta = _gradients(x, gamma, mx.where(y > 0, dy, 0.0))
    return dx, dgamma, dbeta


@batched
def _gradients(
    x: mx.array, gamma: mx.array, dy: mx.array
) -> tuple[mx.array, mx.array, mx.array]:
    """`gamma (dy - dbeta/M - z dgamma/M) / std`, `sum(dy z)`, `sum(dy)`.

    For x, gamma and beta; z is the standardised x, M the number of a channel's values.
    """
    # The same terms as in the forward pass: mx.compile computes them once.
    centred, inverse = _standardise(x)
    count = _values(x)
    dbeta = _sum(dy)
    product = _sum(dy * centred)
    dgamma = product * inverse
    slope = inverse * dgamma * (1.0 / count)
    dx = (dy - dbeta * (1.0 / count) - centred * slope) * (_channels(gamma) * inverse)
    return dx, dgamma[..., 0, 0, 0, :], dbeta[..., 0, 0, 0, :]


def _standardise(x: mx.array) -> tuple[mx.array, mx.array]:
    """`x - mean` and `1 / sqrt(var + eps)` per channel."""
    scale = 1.0 / _values(x)
    centred = x - _sum(x) * scale
    return centred, mx.rsqrt(_sum(mx.square(centred)) * scale + EPS)


def _sum(x: mx.array) -> mx.array:
    """Sum over examples, height and width: (..., 1, 1, 1, c)."""
    return mx.sum(x, axis=(-4, -3, -2), keepdims=True)


def _values(x: mx.array) -> int:
    """Values that a channel has in the batch."""
    n, height, width = x.shape[-4:-1]
    return n * height * width


def _channels(leaf: mx.array) -> mx.array:
    """(..., c) -> (..., 1, 1, 1, c)."""
    return leaf[..., None, None, None, :]


_BATCH_NORM = batched(_batch_norm, _batch_norm_vjp)
_BATCH_NORM_RELU = batched(_batch_norm_relu, _batch_norm_relu_vjp)
