"""Pictures of answers: which labels are drawn."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("matplotlib")

from mlpeft.evaluation import classifier_plots as plots


def labels_of(figure):
    return [label.get_text() for label in figure.axes[0].get_yticklabels()]


def test_labels_that_do_not_occur_are_not_drawn():
    counts = np.array([[3, 1, 0], [0, 2, 0], [0, 0, 0]])
    figure = plots.confusion_matrix(counts, ["a", "b", "none"])
    assert labels_of(figure) == ["a", "b"]
    assert [text.get_text() for text in figure.axes[0].texts] == ["3", "1", "2"]


def test_of_many_labels_those_with_most_errors_are_drawn():
    counts = np.diag(np.full(60, 5))
    counts[50, 59] = 2
    figure = plots.confusion_matrix(counts, [f"label {n}" for n in range(60)])
    shown = labels_of(figure)
    assert len(shown) == plots.MOST_LABELS
    assert {"label 50", "label 59"} <= set(shown)
    assert "with most errors" in figure.axes[0].get_title()


def test_dollars_in_a_label_are_no_formula(tmp_path):
    figure = plots.confusion_matrix(np.eye(2, dtype=int), ["$_$ paid", "b"])
    figure.savefig(tmp_path / "x.png")
