"""Cross entropy of logits and labels."""

from __future__ import annotations

from typing import TYPE_CHECKING

import mlx.core as mx

from mlpeft.models.ops.transforms import batched

if TYPE_CHECKING:
    from collections.abc import Sequence


def cross_entropy(logits: mx.array, labels: mx.array) -> mx.array:
    """Mean over examples of `-log softmax(logits)[label]`, in nats.

    Args:
        logits: (n, classes).
        labels: (n,) integers 0 .. classes - 1.
    """
    return _CROSS_ENTROPY(logits, labels)


def _cross_entropy(logits: mx.array, labels: mx.array) -> mx.array:
    target = mx.sum(mx.where(_one_hot(logits, labels), logits, 0.0), axis=-1)
    return mx.mean(mx.logsumexp(logits, axis=-1) - target, axis=-1)


def _cross_entropy_vjp(
    primals: Sequence[mx.array], dy: mx.array, _: mx.array
) -> tuple[mx.array, mx.array]:
    logits, labels = primals
    return _gradient(logits, labels, dy), mx.zeros_like(labels)


@batched
def _gradient(logits: mx.array, labels: mx.array, dy: mx.array) -> mx.array:
    """`(softmax(logits) - one_hot(labels)) dy / n`, without a scatter."""
    # A slice of an array: as a number, 1 / n would be a part of the compiled kernel,
    # and each n would have one of its own, which is never unloaded.
    share = mx.array([1.0 / logits.shape[-2]] * 2)[0]
    factor = dy[..., None, None] * share
    return (mx.softmax(logits, axis=-1) - _one_hot(logits, labels)) * factor


def _one_hot(logits: mx.array, labels: mx.array) -> mx.array:
    """True at the label of each example: (..., n, classes)."""
    # A constant; mx.arange would add an operation.
    classes = mx.array(list(range(logits.shape[-1])), labels.dtype)
    return labels[..., None] == classes


_CROSS_ENTROPY = batched(_cross_entropy, _cross_entropy_vjp)
