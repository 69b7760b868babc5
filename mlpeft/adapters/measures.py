"""How good answers are, in numbers that weight each text.

A bootstrap resample of a test set is the same texts with other weights (how often each
was drawn), so every measure takes them: `weights` is (n,), 1 each for the set itself.
Labels are indices from 0 to `classes` - 1.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from mlpeft.seeds import Purpose, generator

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

BINS = 15
"""Of equal width, as Guo et al. 2017 (arXiv 1706.04599) count them."""


class Counts(NamedTuple):
    """Weights of texts by label, (classes,) each: `true`, `predicted`, and both."""

    true: np.ndarray
    predicted: np.ndarray
    right: np.ndarray

    @property
    def precision(self) -> np.ndarray:
        """Share of the texts given a label that have it; NaN if none was given it."""
        return _ratio(self.right, self.predicted)

    @property
    def recall(self) -> np.ndarray:
        """Share of the texts of a label that were given it; NaN if there are none."""
        return _ratio(self.right, self.true)

    @property
    def f1(self) -> np.ndarray:
        """2 right / (true + predicted); NaN for a label that does not occur."""
        return _ratio(2.0 * self.right, self.true + self.predicted)


class Bins(NamedTuple):
    """By bins of confidence, (BINS,) each: weight of texts, means of the texts."""

    weight: np.ndarray
    confidence: np.ndarray
    accuracy: np.ndarray


def count(
    true: np.ndarray, predicted: np.ndarray, weights: np.ndarray, classes: int
) -> Counts:
    """Count (n,) labels and answers."""
    right = weights * (true == predicted)
    return Counts(
        np.bincount(true, weights, classes),
        np.bincount(predicted, weights, classes),
        np.bincount(true, right, classes),
    )


def macro_f1(counts: Counts) -> float:
    """Mean F1 of the labels that occur, as a truth or an answer."""
    f1 = counts.f1
    return weighted_mean(f1, ~np.isnan(f1))


def matthews(counts: Counts) -> float:
    """Matthews' correlation of labels and answers.

    It is 0 where the answers are constant, and NaN where the labels are.

    For several classes: Gorodkin 2004, doi 10.1016/j.compbiolchem.2004.09.006.
    """
    true, predicted, right = counts
    total = true.sum()
    if true.max() == total:
        return math.nan
    above = right.sum() * total - true @ predicted
    below = (total**2 - true @ true) * (total**2 - predicted @ predicted)
    return float(above / math.sqrt(below)) if below > 0 else 0.0


def calibration(confidence: np.ndarray, right: np.ndarray, weights: np.ndarray) -> Bins:
    """Confidence and accuracy by bins of confidence; NaN in a bin without texts."""
    place = np.minimum((confidence * BINS).astype(int), BINS - 1)
    weight = np.bincount(place, weights, BINS)
    return Bins(
        weight,
        _ratio(np.bincount(place, weights * confidence, BINS), weight),
        _ratio(np.bincount(place, weights * right, BINS), weight),
    )


def calibration_error(bins: Bins) -> float:
    """Expected calibration error: mean of |confidence - accuracy| over the texts."""
    gap = np.abs(bins.confidence - bins.accuracy)
    return weighted_mean(gap, bins.weight)


def separation(
    inside: np.ndarray, outside: np.ndarray, weights: tuple[np.ndarray, np.ndarray]
) -> float:
    """P(a text inside has more confidence than one outside), ties half: the AUROC.

    Args:
        inside: (n,) confidences of texts in scope.
        outside: (m,) confidences of texts out of scope.
        weights: (n,) and (m,).
    """
    order = np.argsort(outside)
    values = outside[order]
    below = np.concatenate([[0.0], np.cumsum(weights[1][order])])
    lower = below[np.searchsorted(values, inside, "left")]
    upper = below[np.searchsorted(values, inside, "right")]
    total = weights[0].sum() * below[-1]
    won = float(weights[0] @ (lower + upper)) / 2.0
    return won / float(total) if total > 0 else math.nan


def weighted_mean(values: np.ndarray, weights: np.ndarray) -> float:
    """Mean of the values whose weight is not 0; NaN without any."""
    counted = weights > 0
    if not counted.any():
        return math.nan
    return float(np.average(values[counted], weights=weights[counted]))


def bootstrap(
    measure: Callable[[np.ndarray], Mapping[str, float]],
    texts: int,
    *,
    seed: int,
    resamples: int,
) -> dict[str, tuple[float, float]]:
    """95 % intervals over resamples of the texts, with replacement.

    The percentiles of the resamples, less their bias: calibration error is larger in
    resamples than in the set, and macro F1 smaller, where bins and labels have few
    texts.

    Args:
        measure: Figures by name of (n,) weights. A figure that is NaN in a resample
            does not count there.
        texts: The number n of texts.
        seed: Of the resamples.
        resamples: Their number; with 0 there are no intervals.
    """
    rng = generator(seed, Purpose.TEST)
    drawn: dict[str, list[float]] = {}
    for _ in range(resamples):
        weights = np.bincount(rng.integers(texts, size=texts), minlength=texts)
        for name, value in measure(weights.astype(np.float64)).items():
            if not math.isnan(value):
                drawn.setdefault(name, []).append(value)
    figures = measure(np.ones(texts))
    return {
        name: _interval(figures[name], np.array(values))
        for name, values in drawn.items()
        if not math.isnan(figures[name])
    }


def _interval(figure: float, drawn: np.ndarray) -> tuple[float, float]:
    shift = figure - drawn.mean()
    low, high = np.percentile(drawn, [2.5, 97.5]) + shift
    # No share is negative; a correlation may be.
    return float(max(low, min(drawn.min(), 0.0))), float(min(high, 1.0))


def _ratio(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    ratio = np.full(len(below), np.nan)
    np.divide(above, below, ratio, where=below > 0)
    return ratio
