"""Reports of a handful of texts, whose figures are worked out in comments."""

from __future__ import annotations

import json

import numpy as np
import pytest

from mlpeft.adapters.classification_report import report
from mlpeft.errors import DataError

LABELS = ["delivery", "refund"]
TEXTS = ["a", "b", "c", "d", "e"]
WANTED = [("delivery",), ("delivery",), ("refund",), ("oos",), ("oos",)]
PROBABILITIES = np.array([[0.9, 0.1], [0.2, 0.8], [0.4, 0.6], [0.3, 0.7], [0.55, 0.45]])
"""Answers: delivery, refund (wrong), refund, refund (oos), delivery (oos)."""


def figures(**options):
    return report(TEXTS, WANTED, PROBABILITIES, LABELS, **options).figures


def test_without_rejection_no_text_out_of_scope_is_right():
    found = figures(out_of_scope="oos")
    assert found["accuracy"] == pytest.approx(2 / 5)
    assert found["in_scope_accuracy"] == pytest.approx(2 / 3)
    assert found["out_of_scope_recall"] == 0.0
    # In scope 0.9, 0.8, 0.6; outside 0.7, 0.55: of 6 pairs 0.6 < 0.7 alone is wrong.
    assert found["out_of_scope_auroc"] == pytest.approx(5 / 6)
    # In scope: gaps 0.1 (right at 0.9), 0.8 (wrong at 0.8), 0.4 (right at 0.6).
    assert found["ece"] == pytest.approx(1.3 / 3)


def test_rejection_trades_accuracy_for_recall():
    found = report(
        TEXTS, WANTED, PROBABILITIES, LABELS, out_of_scope="oos", reject_below=0.75
    )
    assert found.figures["accuracy"] == pytest.approx(3 / 5)
    assert found.figures["in_scope_accuracy"] == pytest.approx(2 / 3)
    assert found.figures["in_scope_accuracy_rejecting"] == pytest.approx(1 / 3)
    assert found.figures["out_of_scope_recall"] == 1.0
    # Rows: delivery, refund, none of these.
    np.testing.assert_array_equal(found.confusion, [[1, 1, 0], [0, 0, 1], [0, 0, 2]])
    by_threshold = {row["reject_below"]: row for row in found.thresholds}
    assert by_threshold[0.75]["mcc"] == pytest.approx(found.figures["mcc"])
    assert by_threshold[0.6]["out_of_scope_recall"] == 0.5
    # Rejecting below 0.9 gives one delivery, and four rejections, two of them right.
    assert by_threshold[0.9]["accuracy"] == pytest.approx(3 / 5)
    assert [row["text"] for row in found.worst] == ["b"]
    assert found.worst[0]["confidence"] == pytest.approx(0.8)
    assert found.confused[0] == {
        "label": "delivery",
        "predicted": "refund",
        "texts": 1,
    }


def test_the_measures_are_those_of_scikit_learn():
    metrics = pytest.importorskip("sklearn.metrics")
    found = figures(out_of_scope="oos", reject_below=0.6)
    true = ["delivery", "delivery", "refund", "none", "none"]
    given = ["delivery", "refund", "refund", "refund", "none"]
    assert found["mcc"] == pytest.approx(metrics.matthews_corrcoef(true, given))
    assert found["macro_f1"] == pytest.approx(
        metrics.f1_score(true, given, average="macro")
    )


def test_out_of_scope_may_be_one_of_the_classes():
    """It counts as a rejection; in-scope accuracy is that of the best other label."""
    labels = ["delivery", "oos", "refund"]
    probabilities = np.array([[0.4, 0.5, 0.1], [0.1, 0.8, 0.1], [0.1, 0.2, 0.7]])
    wanted = [("delivery",), ("oos",), ("refund",)]
    found = report(["a", "b", "c"], wanted, probabilities, labels, out_of_scope="oos")
    assert found.figures["accuracy"] == pytest.approx(2 / 3)
    assert found.figures["in_scope_accuracy"] == 1.0
    assert found.figures["in_scope_accuracy_rejecting"] == 0.5
    assert found.figures["out_of_scope_recall"] == 1.0
    assert found.figures["out_of_scope_auroc"] == 1.0
    assert found.names == ("delivery", "refund", "none of these")


def test_labels_that_are_not_known_are_out_of_scope_or_an_error():
    found = report(TEXTS, WANTED, PROBABILITIES, LABELS)
    assert found.unknown == {"oos": 2}
    assert found.figures == figures(out_of_scope="oos")
    wanted = [*WANTED[:4], ("refunds",)]
    with pytest.raises(DataError, match=r"'refunds' \(1 of .*mean 'refund'"):
        report(TEXTS, wanted, PROBABILITIES, LABELS, out_of_scope="oos")


def test_all_texts_in_scope_have_no_figures_of_others():
    found = report(TEXTS[:3], WANTED[:3], PROBABILITIES[:3], LABELS)
    assert "out_of_scope_recall" not in found.figures
    assert found.thresholds == []
    assert found.figures["accuracy"] == found.figures["in_scope_accuracy"]
    only_outside = report(TEXTS[3:], WANTED[3:], PROBABILITIES[3:], LABELS)
    assert only_outside.figures["out_of_scope_recall"] == 0.0
    assert "in_scope_accuracy" not in only_outside.figures
    json.dumps(only_outside.to_dict(), allow_nan=False)


def test_several_labels_a_text():
    """Given: {delivery}, {}; true: {delivery, refund}, {}. One of three is missed."""
    wanted = [("delivery", "refund"), ()]
    probabilities = np.array([[0.9, 0.3], [0.2, 0.1]])
    found = report(["a", "b"], wanted, probabilities, LABELS, multi_label=True)
    assert found.figures["accuracy"] == 0.5
    assert found.figures["micro_f1"] == pytest.approx(2 * 1 / (2 + 1))
    assert found.figures["macro_f1"] == pytest.approx(0.5)
    # Gaps: 0.1 (delivery of a), 0.7 (refund of a), 0.2 and 0.1.
    assert found.figures["ece"] == pytest.approx(1.1 / 4)
    assert found.worst == [
        {
            "text": "a",
            "label": ["delivery", "refund"],
            "predicted": ["delivery"],
            "confidence": 0.7,
        }
    ]
    with pytest.raises(DataError, match="gives one; give each text one label"):
        report(["a", "b"], wanted, probabilities, LABELS)
    with pytest.raises(DataError, match="an empty list"):
        report(
            ["a", "b"],
            wanted,
            probabilities,
            LABELS,
            multi_label=True,
            out_of_scope="oos",
        )


def test_intervals_enclose_their_figures_and_no_texts_are_an_error():
    found = report(TEXTS, WANTED, PROBABILITIES, LABELS)
    for name, (low, high) in found.intervals.items():
        assert low <= found.figures[name] <= high
    assert found.intervals["accuracy"] == pytest.approx((0.0, 0.8), abs=0.02)
    with pytest.raises(DataError, match="no texts to test with"):
        report([], [], np.zeros((0, 2)), LABELS)
