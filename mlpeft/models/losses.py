"""Losses and scores of predictions against targets."""

from __future__ import annotations

import mlx.core as mx

from mlpeft.errors import ShapeError
from mlpeft.models.ops import cross_entropy

IGNORED = -1
"""The label of a token without a loss: part of a prompt, or padding."""


def cross_entropy_loss(logits: mx.array, labels: mx.array) -> mx.array:
    """Mean of `-log softmax(logits)[label]`, in nats.

    The mean is over examples, or for sequences over all tokens whose label is not
    IGNORED, so the longer of two completions weighs more.

    Args:
        logits: (n, classes) unnormalised log-probabilities, or (n, length, vocabulary).
        labels: (n,) integers 0 .. classes - 1, or (n, length) integers or IGNORED.

    Raises:
        ShapeError: Naming both shapes if they do not fit.
    """
    if _are_sequences(logits, labels):
        return _token_loss(logits, labels)
    if logits.ndim != 2 or labels.shape != logits.shape[:1]:
        raise ShapeError(
            f"cross entropy of logits {tuple(logits.shape)} and labels "
            f"{tuple(labels.shape)}: expected (n, classes) and (n,), or (n, length, "
            "vocabulary) and (n, length)"
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


def terms(labels: mx.array) -> mx.array:
    """The number of terms in the mean of these losses: examples, or labelled tokens.

    Args:
        labels: (n,) or (n, outputs) targets, or (n, length) integers of tokens.
    """
    if labels.ndim == 2 and mx.issubdtype(labels.dtype, mx.integer):
        return mx.sum((labels != IGNORED).astype(mx.float32))
    return mx.array(float(len(labels)))


def accuracy(logits: mx.array, labels: mx.array) -> mx.array:
    """Share of examples whose largest logit is the label's, 0 .. 1.

    For sequences, the share in which this holds for every label that is not IGNORED.
    That is exact match: greedy decoding from the prompt gives these tokens, because
    each of them is the likeliest after those before it.

    Args:
        logits: (n, classes), or (n, length, vocabulary).
        labels: (n,) integers, or (n, length).

    Raises:
        ShapeError: Naming both shapes if they do not fit.
    """
    if _are_sequences(logits, labels):
        hits = (mx.argmax(logits, axis=-1) == labels) | (labels == IGNORED)
        return mx.mean(mx.all(hits, axis=-1).astype(mx.float32))
    if logits.ndim != 2 or labels.shape != logits.shape[:1]:
        raise ShapeError(
            f"accuracy of logits {tuple(logits.shape)} and labels "
            f"{tuple(labels.shape)}: expected (n, classes) and (n,), or (n, length, "
            "vocabulary) and (n, length)"
        )
    return mx.mean((mx.argmax(logits, axis=-1) == labels).astype(mx.float32))


CALIBRATION_BINS = 15


def calibration_sums(logits: mx.array, labels: mx.array) -> mx.array:
    """What the expected calibration error is made of, by bins of confidence.

    Args:
        logits: (n, classes).
        labels: (n,) integers.

    Returns:
        (3, CALIBRATION_BINS): in each bin of equal width the number of examples, the
        sum of their confidences (the largest probability), and how many are right.
    """
    probabilities = mx.softmax(logits.astype(mx.float32), axis=-1)
    confidence = mx.max(probabilities, axis=-1)
    right = (mx.argmax(logits, axis=-1) == labels).astype(mx.float32)
    place = mx.minimum(
        mx.floor(confidence * CALIBRATION_BINS), float(CALIBRATION_BINS - 1)
    )
    bins = (place[:, None] == mx.arange(CALIBRATION_BINS)).astype(mx.float32)
    columns = mx.stack([mx.ones_like(confidence), confidence, right])
    return columns @ bins


def _are_sequences(logits: mx.array, labels: mx.array) -> bool:
    """Whether there is a label for each token of a sequence."""
    return logits.ndim == 3 and labels.shape == logits.shape[:2]


def _token_loss(logits: mx.array, labels: mx.array) -> mx.array:
    """Mean loss of the labelled tokens; in float32 whatever the model's dtype."""
    logits = logits.astype(mx.float32)
    labelled = labels != IGNORED
    target = mx.take_along_axis(logits, mx.maximum(labels, 0)[..., None], axis=-1)
    losses = mx.where(labelled, mx.logsumexp(logits, axis=-1) - target[..., 0], 0.0)
    return mx.sum(losses) / mx.maximum(mx.sum(labelled.astype(mx.float32)), 1.0)
