"""Calibration by one number (Guo et al. 2017, arXiv 1706.04599)."""

from __future__ import annotations

import numpy as np

from mlpeft.heads.linear import sigmoid, softmax

FACTORS = tuple(2.0 ** np.arange(-3.0, 6.01, 0.5))


def cross_entropy(
    logits: np.ndarray, targets: np.ndarray, *, multi_label: bool = False
) -> float:
    """Mean cross-entropy of (n, classes) logits and targets of 0 and 1."""
    return float(each_loss(logits, targets, multi_label=multi_label).mean())


def each_loss(
    logits: np.ndarray, targets: np.ndarray, *, multi_label: bool = False
) -> np.ndarray:
    """(n,) the cross-entropy of each example."""
    logits = logits.astype(np.float64)
    if multi_label:
        p = np.clip(sigmoid(logits), 1e-9, 1.0 - 1e-9)
        loss = -(targets * np.log(p) + (1.0 - targets) * np.log(1.0 - p))
    else:
        loss = -targets * np.log(np.clip(softmax(logits), 1e-9, 1.0))
    losses: np.ndarray = loss.sum(axis=1)
    return losses


def best_factor(
    logits: np.ndarray, targets: np.ndarray, *, multi_label: bool = False
) -> float:
    """The inverse temperature with the smallest cross-entropy, to a few percent.

    Where every held-out example is right, no finite factor would be the best. So one
    more example, of which nothing is known, is shared out among all of them.

    Args:
        logits: (n, classes) of examples that the head did not see.
        targets: (n, classes) of 0 and 1.
        multi_label: Whether each class has a sigmoid of its own.
    """
    if not len(logits):
        return 1.0
    even = 0.5 if multi_label else 1.0 / logits.shape[1]
    targets = targets + (even - targets) / (len(logits) + 1.0)

    def loss(factor: float) -> float:
        return cross_entropy(factor * logits, targets, multi_label=multi_label)

    best = min(FACTORS, key=loss)
    return float(min((best * 2.0 ** (k / 8) for k in range(-3, 4)), key=loss))
