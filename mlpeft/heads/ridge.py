"""Ridge regression on centred labels, in closed form.

`W = argmin sum_i s_i |y_i - b - W x_i|^2 + lambda |W|^2`, with intercept b. Lambda has
the smallest cross-entropy of the left-out examples, at the best temperature for each
lambda. Leaving one out is exact and costs no second fit: the residual of example i
without it is `r_i / (1 - h_i)`, with h_i its leverage (Allen 1974, PRESS).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mlpeft.heads.linear import ABSENT, LinearHead
from mlpeft.heads.temperature import best_factor, cross_entropy

if TYPE_CHECKING:
    from mlpeft.heads.examples import Examples

LAMBDAS = tuple(10.0 ** (k / 2) for k in range(-4, 4))
_USUAL = 1.0
"""Lambda where nothing can be left out: every class has one row."""


def fit_ridge(examples: Examples) -> LinearHead:
    """Fit with the lambda that leaving one out prefers."""
    root = np.sqrt(examples.weights.astype(np.float64))[:, None]
    total = float((root**2).sum())
    mean_x = (root**2 * examples.x).sum(axis=0) / total
    mean_y = (root**2 * examples.targets).sum(axis=0) / total
    x = root * (examples.x - mean_x)
    y = root * (examples.targets - mean_y)
    u, s, vt = np.linalg.svd(x, full_matrices=False)
    uy = u.T @ y
    lam = _best_lambda(examples, (u, s, uy), y, root, total, mean_y)
    weight = (vt.T @ ((s / (s**2 + lam))[:, None] * uy)).T
    bias = mean_y - weight @ mean_x
    factor = 10.0  # so that all heads' logits have a similar size
    absent = ~examples.targets.any(axis=0)
    bias = np.where(absent, ABSENT, factor * bias)
    return LinearHead((factor * weight).astype(np.float32), bias.astype(np.float32))


def _best_lambda(
    examples: Examples,
    parts: tuple[np.ndarray, np.ndarray, np.ndarray],
    y: np.ndarray,
    root: np.ndarray,
    total: float,
    mean_y: np.ndarray,
) -> float:
    u, s, uy = parts
    several = examples.targets.sum(axis=0) > 1
    scored = examples.real & (examples.targets @ several > 0)
    if not scored.any():
        return _USUAL
    found: dict[float, float] = {}
    targets = examples.targets[scored]
    for lam in LAMBDAS:
        shrunk = s**2 / (s**2 + lam)
        fitted = u @ (shrunk[:, None] * uy)
        leverage = (u**2 @ shrunk)[:, None] + root**2 / total
        left_out = y - (y - fitted) / np.maximum(1.0 - leverage, 1e-6)
        logits = (left_out / root + mean_y)[scored]
        factor = best_factor(logits, targets)
        found[lam] = cross_entropy(factor * logits, targets)
    return min(found, key=found.__getitem__)
