"""Pictures of a classifier's answers (extra: plots); see `mlpeft.evaluation.plots`."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import numpy as np

from mlpeft.evaluation.plots import BLUE, GREY, ORANGE, new_figure, style_axes

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from matplotlib.figure import Figure

MOST_LABELS: Final = 40
"""In a confusion matrix; of more, those with the most errors are drawn."""
WITH_NUMBERS: Final = 25
"""Labels up to which each cell has its number of texts."""


def confusion_matrix(counts: np.ndarray, names: Sequence[str]) -> Figure:
    """Answers by label: the number of texts, coloured by the share of the label's row.

    Args:
        counts: (labels, labels) texts by true label (rows) and answer (columns).
        names: Of the labels.
    """
    shown = _most_confused(counts)
    cut = counts[np.ix_(shown, shown)]
    shares = cut / np.maximum(counts[shown].sum(axis=1, keepdims=True), 1)
    side = min(max(4.6, 2.2 + 0.3 * len(shown)), 14.0)
    figure = new_figure()
    figure.set_size_inches(side, side)
    axes = figure.subplots()
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    labels = [_short(names[i]) for i in shown]
    size = 8 if len(shown) <= WITH_NUMBERS else 6
    axes.set_xticks(range(len(shown)), labels, rotation=90, fontsize=size)
    axes.set_yticks(range(len(shown)), labels, fontsize=size)
    axes.set_xlabel("predicted")
    axes.set_ylabel("label of the text")
    if len(shown) <= WITH_NUMBERS:
        for row, column in np.argwhere(cut):
            colour = "white" if shares[row, column] > 0.5 else "black"
            text = str(cut[row, column])
            axes.text(
                *(column, row, text),
                ha="center",
                va="center",
                color=colour,
                fontsize=size,
            )
    some = f", the {MOST_LABELS} labels with most errors"
    axes.set_title(
        "Confusion matrix" + (some if len(shown) == MOST_LABELS else ""), fontsize=10
    )
    return figure


def reliability(bins: Sequence[Mapping[str, float]], error: float | None) -> Figure:
    """Accuracy over confidence, by bins, above how many texts each has.

    Args:
        bins: With from, to, texts, confidence and accuracy.
        error: Expected calibration error, a share.
    """
    figure = new_figure(height=5.2)
    figure.set_size_inches(5.2, 5.6)
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=[4, 1])
    middle = [100 * (row["from"] + row["to"]) / 2 for row in bins]
    width = [100 * (row["to"] - row["from"]) for row in bins]
    upper.bar(
        middle,
        [100 * row["accuracy"] for row in bins],
        width,
        color=BLUE,
        alpha=0.35,
        edgecolor="white",
        label="accuracy of the bin",
    )
    upper.plot(
        [100 * row["confidence"] for row in bins],
        [100 * row["accuracy"] for row in bins],
        color=BLUE,
        marker="o",
        ms=5,
        label="at its mean confidence",
    )
    upper.plot([0, 100], [0, 100], color=GREY, ls=(0, (6, 2)), label="calibrated")
    upper.set_ylabel("accuracy (%)")
    upper.set_xlim(0, 100)
    upper.set_ylim(0, 102)
    upper.legend(loc="upper left")
    said = "" if error is None else f", ECE {100 * error:.1f} %"
    upper.set_title(f"Reliability{said}")
    lower.bar(middle, [row["texts"] for row in bins], width, color=GREY, ec="white")
    lower.set_ylabel("texts")
    lower.set_xlabel("confidence (%)")
    style_axes(upper)
    style_axes(lower)
    return figure


def rejection_curve(thresholds: Sequence[Mapping[str, float]], chosen: float) -> Figure:
    """In-scope accuracy against out-of-scope recall, by the confidence to reject below.

    Args:
        thresholds: With reject_below, in_scope_accuracy and out_of_scope_recall.
        chosen: The adapter's threshold, one of them.
    """
    figure = new_figure()
    axes = figure.subplots()
    x = [100 * row["out_of_scope_recall"] for row in thresholds]
    y = [100 * row["in_scope_accuracy"] for row in thresholds]
    axes.plot(x, y, color=BLUE, marker="o", ms=4, label="rejecting below ...")
    noted = -math.inf
    for row, across, up in zip(thresholds, x, y, strict=True):
        # A number needs a twelfth of the width.
        if across - noted < 8:
            continue
        noted = across
        axes.annotate(
            f"{row['reject_below']:.2g}",
            (across, up),
            xytext=(5, 5),
            textcoords="offset points",
            fontsize=8,
            color=GREY,
        )
    (own,) = [i for i, row in enumerate(thresholds) if row["reject_below"] == chosen]
    axes.scatter(
        *([x[own]], [y[own]]),
        s=90,
        marker="D",
        color=ORANGE,
        zorder=3,
        label=f"the adapter's, {chosen:.3g}",
    )
    axes.set_xlabel("out-of-scope recall (%)")
    axes.set_ylabel("in-scope accuracy (%)")
    axes.set_title("What rejecting costs and catches")
    axes.set_xlim(-2, 102)
    axes.set_ylim(0, 105)
    axes.legend(loc="lower left")
    style_axes(axes)
    return figure


def _most_confused(counts: np.ndarray) -> np.ndarray:
    """The labels to draw, in their order; those that do not occur are left out."""
    texts = counts.sum(axis=0) + counts.sum(axis=1)
    occurring = np.flatnonzero(texts)
    wrong = (texts - 2 * np.diag(counts))[occurring]
    chosen = np.argsort(-wrong, kind="stable")[:MOST_LABELS]
    return np.asarray(occurring[np.sort(chosen)])


def _short(name: str) -> str:
    short = name if len(name) <= 24 else name[:23] + "…"
    # Between two dollars matplotlib would read a formula.
    return short.replace("$", r"\$")
