"""What to label next, on texts that are points of a plane."""

from __future__ import annotations

import numpy as np
import pytest

from mlpeft.adapters.suggestions import choose, uncertainty

AXES = np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]])
"""The second is a copy of the first."""


def test_uncertainty_is_the_margin_of_the_two_best_labels():
    rows = np.array([[0.5, 0.5, 0.0], [0.1, 0.8, 0.1], [0.0, 0.0, 1.0]])
    assert uncertainty(rows) == pytest.approx([1.0, 0.3, 0.0])
    several = np.array([[0.9, 0.5], [0.9, 0.2]])
    assert uncertainty(several, multi_label=True) == pytest.approx([1.0, 0.4])


def test_of_like_texts_the_most_uncertain_is_chosen_and_no_copy_of_it():
    """After the first, the opposite text is at distance 2 and the third at 1."""
    assert choose(AXES, np.array([0.5, 0.9, 0.5, 0.3]), 4) == [1, 3, 2]
    assert choose(AXES, np.array([0.5, 0.9, 0.9, 0.3]), 2) == [1, 2]


def test_texts_like_known_ones_come_last():
    assert choose(AXES, np.ones(4), 2, known=AXES[:1]) == [3, 2]
