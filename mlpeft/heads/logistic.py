"""Logistic regression: multinomial, or one sigmoid for each label of several."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mlpeft.heads.linear import ABSENT, LinearHead, sigmoid, softmax

if TYPE_CHECKING:
    from collections.abc import Callable

    from mlpeft.heads.examples import Examples

C = 30.0
"""Inverse strength of the penalty, as in scikit-learn: `C sum_i loss_i + |W|^2 / 2`."""
_MEMORY = 8
_STEPS = 60
_TOLERANCE = 1e-3


def fit_logistic(examples: Examples, *, multi_label: bool = False) -> LinearHead:
    """Minimise `sum_i s_i loss_i / n + |W|^2 / (2 C n)`; the bias has no penalty."""
    x = np.concatenate([examples.x, np.ones((len(examples.x), 1), np.float32)], axis=1)
    x = x.astype(np.float32)
    targets, n = examples.targets, len(x)
    weights = (examples.weights / n)[:, None]
    shape = (targets.shape[1], x.shape[1])
    penalty = np.full(shape, 1.0 / (C * n), np.float32)
    penalty[:, -1] = 1e-6

    def value(flat: np.ndarray) -> tuple[float, np.ndarray]:
        w = flat.reshape(shape)
        logits = x @ w.T
        p = sigmoid(logits) if multi_label else softmax(logits)
        safe = np.clip(p, 1e-9, 1.0)
        loss = -targets * np.log(safe)
        if multi_label:
            loss = loss - (1.0 - targets) * np.log(np.clip(1.0 - p, 1e-9, 1.0))
        gradient = (weights * (p - targets)).T @ x + penalty * w
        total = float((weights * loss).sum() + 0.5 * (penalty * w * w).sum())
        return total, gradient.ravel().astype(np.float32)

    w = _minimise(value, np.zeros(shape, np.float32).ravel()).reshape(shape)
    present = targets.any(axis=0)
    bias = np.where(present, w[:, -1], ABSENT)
    return LinearHead(w[:, :-1].copy(), bias.astype(np.float32))


def _minimise(
    value: Callable[[np.ndarray], tuple[float, np.ndarray]], w: np.ndarray
) -> np.ndarray:
    """L-BFGS with a backtracking line search (Nocedal and Wright 2006, 7.4)."""
    loss, gradient = value(w)
    first = np.abs(gradient).max()
    pairs: list[tuple[np.ndarray, np.ndarray, float]] = []
    for _ in range(_STEPS):
        if np.abs(gradient).max() <= _TOLERANCE * first:
            break
        step = -_inverse_hessian(gradient, pairs)
        slope, size = float(step @ gradient), 1.0 if pairs else 10.0
        while True:
            new_loss, new_gradient = value(w + size * step)
            if new_loss <= loss + 1e-4 * size * slope or size < 1e-6:
                break
            size *= 0.5
        moved, turned = size * step, new_gradient - gradient
        curvature = float(moved @ turned)
        if curvature > 1e-12:
            pairs = [*pairs[1 - _MEMORY :], (moved, turned, curvature)]
        w, loss, gradient = w + moved, new_loss, new_gradient
    return w


def _inverse_hessian(
    gradient: np.ndarray, pairs: list[tuple[np.ndarray, np.ndarray, float]]
) -> np.ndarray:
    """The two-loop recursion."""
    q, factors = gradient.copy(), []
    for moved, turned, curvature in reversed(pairs):
        factors.append(float(moved @ q) / curvature)
        q -= factors[-1] * turned
    if pairs:
        _, turned, curvature = pairs[-1]
        q *= curvature / float(turned @ turned)
    for (moved, turned, curvature), factor in zip(
        pairs, reversed(factors), strict=True
    ):
        q += (factor - float(turned @ q) / curvature) * moved
    return q
