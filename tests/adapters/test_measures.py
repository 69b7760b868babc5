"""Measures against scikit-learn, and numbers worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from mlpeft.adapters import measures

TRUE = np.array([0, 0, 0, 1, 1, 2])
GIVEN = np.array([0, 0, 1, 1, 2, 2])
"""Right: two of label 0, one of 1, one of 2."""
ONES = np.ones(6)


def test_f1_and_matthews_by_hand():
    """F1: 2*2/(3+2), 2*1/(2+2), 2*1/(1+2). MCC: (4*6 - 12) / sqrt((36-14)(36-12))."""
    counts = measures.count(TRUE, GIVEN, ONES, 4)
    np.testing.assert_allclose(counts.f1, [0.8, 0.5, 2 / 3, math.nan])
    assert measures.macro_f1(counts) == pytest.approx((0.8 + 0.5 + 2 / 3) / 3)
    assert measures.matthews(counts) == pytest.approx(12 / math.sqrt(22 * 24))
    assert counts.precision[1] == 0.5
    assert counts.recall[0] == pytest.approx(2 / 3)


def test_they_are_those_of_scikit_learn():
    metrics = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(0)
    true, given = rng.integers(5, size=(2, 200))
    given[:90] = true[:90]
    given[given == 4] = 0
    score = np.round(rng.random(200), 1)
    weights = rng.integers(4, size=200).astype(float)
    counts = measures.count(true, given, weights, 5)
    expected = metrics.matthews_corrcoef(true, given, sample_weight=weights)
    assert measures.matthews(counts) == pytest.approx(expected)
    expected = metrics.f1_score(true, given, average="macro", sample_weight=weights)
    assert measures.macro_f1(counts) == pytest.approx(expected)
    inside = true > 1
    expected = metrics.roc_auc_score(inside, score, sample_weight=weights)
    found = measures.separation(
        score[inside], score[~inside], (weights[inside], weights[~inside])
    )
    assert found == pytest.approx(expected)


def test_constant_answers_have_no_correlation_and_constant_labels_an_undefined_one():
    given = np.zeros(6, int)
    assert measures.matthews(measures.count(TRUE, given, ONES, 3)) == 0.0
    assert math.isnan(measures.matthews(measures.count(given, TRUE, ONES, 3)))


def test_calibration_error_by_hand():
    """Two texts at 0.95, one right: a gap of 0.45; two at 0.5, both right: 0.5."""
    confidence = np.array([0.95, 0.95, 0.5, 0.5])
    right = np.array([True, False, True, True])
    bins = measures.calibration(confidence, right, np.ones(4))
    assert measures.calibration_error(bins) == pytest.approx((0.45 + 0.5) / 2)
    assert bins.weight.sum() == 4
    bins = measures.calibration(np.ones(1), np.ones(1, bool), np.ones(1))
    assert measures.calibration_error(bins) == 0.0


def test_weights_are_copies_of_texts():
    twice = np.concatenate([TRUE, TRUE[:2]]), np.concatenate([GIVEN, GIVEN[:2]])
    weights = np.array([2.0, 2, 1, 1, 1, 1])
    for a, b in zip(
        measures.count(TRUE, GIVEN, weights, 3),
        measures.count(*twice, np.ones(8), 3),
        strict=True,
    ):
        np.testing.assert_array_equal(a, b)


def test_bootstrap_intervals_repeat_and_are_as_wide_as_the_binomial():
    """100 texts, 80 right: a standard error of 4 points, so 72 to 88."""
    right = np.arange(100) < 80

    def measure(weights):
        return {"accuracy": measures.weighted_mean(right, weights), "none": math.nan}

    first = measures.bootstrap(measure, 100, seed=1, resamples=1000)
    assert first == measures.bootstrap(measure, 100, seed=1, resamples=1000)
    assert first != measures.bootstrap(measure, 100, seed=2, resamples=1000)
    assert first["accuracy"] == pytest.approx((0.72, 0.88), abs=0.02)
    assert "none" not in first
    assert measures.bootstrap(measure, 100, seed=1, resamples=0) == {}


def test_an_interval_of_calibration_error_holds_its_figure():
    """Resamples of calibrated answers are less calibrated than the answers."""
    rng = np.random.default_rng(0)
    confidence = rng.random(400)
    right = rng.random(400) < confidence

    def measure(weights):
        bins = measures.calibration(confidence, right, weights)
        return {"ece": measures.calibration_error(bins)}

    low, high = measures.bootstrap(measure, 400, seed=0, resamples=200)["ece"]
    assert 0.0 <= low < measure(np.ones(400))["ece"] < high
