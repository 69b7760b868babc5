"""Means over training seeds, with Student's intervals: trainings are few."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

LEVEL: Final = 0.95


def seed_interval(values: Sequence[float]) -> tuple[float, float]:
    """Mean and half width of its 95 % interval, `t s / sqrt(n)`.

    s is the sample standard deviation over n trainings, and t Student's quantile of
    n - 1 degrees of freedom: 12.71 for two, 4.30 for three.

    Args:
        values: One score per training, at least one.

    Returns:
        (mean, half width); NaN is the half width of a single training.
    """
    numbers = np.asarray(values, dtype=np.float64)
    if len(numbers) == 1:
        return float(numbers[0]), math.nan
    spread = float(numbers.std(ddof=1)) / math.sqrt(len(numbers))
    return float(numbers.mean()), student_t(len(numbers) - 1) * spread


@lru_cache(maxsize=64)
def student_t(freedom: int) -> float:
    """The two-sided 95 % quantile of Student's distribution, by bisection.

    Args:
        freedom: Degrees of freedom, at least 1.
    """
    low, high = 0.0, 16.0
    for _ in range(60):
        middle = (low + high) / 2
        if _coverage(middle, freedom) < LEVEL:
            low = middle
        else:
            high = middle
    return (low + high) / 2


def _coverage(t: float, freedom: int) -> float:
    """P(|T| < t), in closed form for whole degrees of freedom.

    With `a = atan(t / sqrt(freedom))`: a finite series in cos a. Abramowitz and Stegun,
    "Handbook of Mathematical Functions", 26.7.3 and 26.7.4.
    """
    angle = math.atan(t / math.sqrt(freedom))
    sine, cosine = math.sin(angle), math.cos(angle)
    odd = freedom % 2
    term, total = (cosine if odd else 1.0), 0.0
    for k in range(1 + odd, freedom, 2):
        total += term
        term *= cosine**2 * k / (k + 1)
    if odd:
        return 2 / math.pi * (angle + sine * total)
    return sine * total
