"""Batch normalisation with the statistics of the batch."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import mlx.core as mx

from mlpeft.models.ops.transforms import differentiable

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
    output: mx.array = _BATCH_NORM(x.reshape(-1, x.shape[-1]), gamma, beta)
    return output.reshape(x.shape)


def batch_norm_relu(x: mx.array, gamma: mx.array, beta: mx.array) -> mx.array:
    """`max(batch_norm(x), 0)` in fewer passes over memory.

    Args:
        x: (n, h, w, c).
        gamma: (c,) scale.
        beta: (c,) shift.
    """
    output: mx.array = _BATCH_NORM_RELU(x.reshape(-1, x.shape[-1]), gamma, beta)
    return output.reshape(x.shape)


def _batch_norm(x: mx.array, gamma: mx.array, beta: mx.array) -> mx.array:
    centred, inverse = _standardise(x)
    return centred * (inverse * gamma) + beta


def _batch_norm_vjp(
    primals: Sequence[mx.array], dy: mx.array, _: mx.array
) -> tuple[mx.array, mx.array, mx.array]:
    x, gamma, _beta = primals
    return _gradients(x, gamma, dy)


def _batch_norm_relu(x: mx.array, gamma: mx.array, beta: mx.array) -> mx.array:
    return mx.maximum(_batch_norm(x, gamma, beta), 0.0)


def _batch_norm_relu_vjp(
    primals: Sequence[mx.array], dy: mx.array, y: mx.array
) -> tuple[mx.array, mx.array, mx.array]:
    x, gamma, _beta = primals
    return _gradients(x, gamma, mx.where(y > 0, dy, 0.0))


def _gradients(
    x: mx.array, gamma: mx.array, dy: mx.array
) -> tuple[mx.array, mx.array, mx.array]:
    """`gamma (dy - dbeta/M - z dgamma/M) / std`, `sum(dy z)`, `sum(dy)`.

    For x (M, c), gamma and beta; z is the standardised x.
    """
    # The forward pass has the same terms: mx.compile computes them once.
    centred, inverse = _standardise(x)
    scale = _share(x)
    dbeta = mx.sum(dy, axis=0, keepdims=True)
    dgamma = mx.sum(dy * centred, axis=0, keepdims=True) * inverse
    slope = inverse * dgamma * scale
    dx = (dy - dbeta * scale - centred * slope) * (gamma * inverse)
    return dx, dgamma.reshape(-1), dbeta.reshape(-1)


def _standardise(x: mx.array) -> tuple[mx.array, mx.array]:
    """`x - mean` and `1 / sqrt(var + eps)` of each column of (M, c)."""
    scale = _share(x)
    centred = x - mx.sum(x, axis=0, keepdims=True) * scale
    variance = mx.sum(mx.square(centred), axis=0, keepdims=True) * scale
    return centred, mx.rsqrt(variance + EPS)


def _share(x: mx.array) -> mx.array:
    """`1 / M` of (M, c).

    A slice of an array: as a number it would be a part of the compiled kernel, and each
    number of examples would have one of its own, which is never unloaded.
    """
    return _shares(len(x), x.dtype)[0]


@lru_cache(64)
def _shares(many: int, dtype: mx.Dtype) -> mx.array:
    """Twice `1 / many`; one array, or mx.compile would not see that terms are equal."""
    return mx.array([1.0 / many] * 2, dtype)


_BATCH_NORM = differentiable(_batch_norm, _batch_norm_vjp)
_BATCH_NORM_RELU = differentiable(_batch_norm_relu, _batch_norm_relu_vjp)
