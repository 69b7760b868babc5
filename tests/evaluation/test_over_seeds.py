"""Intervals over trainings are Student's."""

import math

import pytest

from mlpeft.evaluation.over_seeds import seed_interval, student_t


@pytest.mark.parametrize(
    ("freedom", "quantile"),
    [(1, 12.7062), (2, 4.3027), (3, 3.1824), (4, 2.7764), (9, 2.2622), (30, 2.0423)],
)
def test_the_quantiles_are_those_of_the_tables(freedom, quantile):
    assert student_t(freedom) == pytest.approx(quantile, abs=5e-5)


def test_three_trainings_have_an_interval_of_their_spread():
    """Scores 0.8, 0.9, 1.0: s = 0.1, so 4.3027 * 0.1 / sqrt(3)."""
    mean, half_width = seed_interval([0.8, 0.9, 1.0])
    assert mean == pytest.approx(0.9)
    assert half_width == pytest.approx(4.3027 * 0.1 / math.sqrt(3), abs=1e-5)


def test_one_training_has_none():
    mean, half_width = seed_interval([0.8])
    assert mean == 0.8
    assert math.isnan(half_width)
