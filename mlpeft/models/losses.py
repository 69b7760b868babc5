"""Loss and score of predictions against targets."""

from __future__ import annotations

import mlx.core as mx

from mlpeft.errors import ShapeError
from mlpeft.models.ops import cross_entropy


def cross_entropy_loss(logits: mx.array, labels: mx.array) -> mx.array:
    """Mean over examples of `-log softmax(logits)[label]`, in nats.

    Args:
        logits: (n, classes) unnormalised log-probabilities.
        labels: (n,) integers 0 .. classes - 1.

    Raises:
        ShapeError: Naming both shapes if they do not fit.
    """
    if logits.ndim != 2 or labels.shape != logits.shape[:1]:
        raise ShapeError(
            f"cross entropy of logits {tuple(logits.shape)} and labels "
            f"{tuple(labels.shape)}: expected (n, classes) and (n,)"
        )
    return cross_entropy(logits, labels)


def mse_loss(predictions: mx.array, targets: mx.array) -> mx.array:
    """Mean over examples and outputs of `(prediction - target)^2`.

    Args:
        predictions: (n, outputs).
        targets: (n, outputs).

    Raises:
        ShapeError: Naming both shapes if they differ.
    """
    if predictions.shape != targets.shape:
        raise ShapeError(
            f"squared error of predictions {tuple(predictions.shape)} and targets "
            f"{tuple(targets.shape)}: expected equal shapes"
        )
    return mx.mean(mx.square(predictions - targets))


def accuracy(logits: mx.array, labels: mx.array) -> mx.array:
    """Share of examples whose largest logit is the label's, 0 .. 1.

    Args:
        logits: (n, classes).
        labels: (n,) integers.

    Raises:
        ShapeError: Naming both shapes if they do not fit.
    """
    if logits.ndim != 2 or labels.shape != logits.shape[:1]:
        raise ShapeError(
            f"accuracy of logits {tuple(logits.shape)} and labels "
            f"{tuple(labels.shape)}: expected (n, classes) and (n,)"
        )
    return mx.mean((mx.argmax(logits, axis=-1) == labels).astype(mx.float32))
