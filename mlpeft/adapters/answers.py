"""Answers beside the right labels: what a report asks of them.

`Answers` have one label a text, or none; `LabelSets` any number.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from mlpeft.adapters.measures import (
    Bins,
    Counts,
    calibration,
    calibration_error,
    count,
    macro_f1,
    matthews,
    separation,
    weighted_mean,
)

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Sequence

THRESHOLDS = (*(number / 20 for number in range(20)), 0.99)
"""Confidences below which texts are rejected, in the table of thresholds."""
MULTI_LABEL_FROM = 0.5
"""Probability from which a label of several is predicted."""


class Answers:
    """One label a text, or none: the last of `names`."""

    def __init__(
        self,
        wanted: Sequence[str],
        probabilities: np.ndarray,
        labels: Sequence[str],
        reject_below: float,
        out_of_scope: str | None,
        none_label: str,
    ) -> None:
        scope = [label for label in labels if label not in (out_of_scope, none_label)]
        self.names = [*scope, none_label]
        self._none = len(scope)
        place = {name: number for number, name in enumerate(scope)}
        self._reject_below = reject_below
        self.true = np.array([place.get(name, self._none) for name in wanted])
        class_of = np.array([place.get(name, self._none) for name in labels])
        self._best = class_of[probabilities.argmax(axis=1)]
        self.confidence = probabilities.max(axis=1).astype(np.float64)
        # The best label without rejection, also where out of scope is a class.
        inside = np.flatnonzero(class_of != self._none)
        in_scope = class_of[inside[probabilities[:, inside].argmax(axis=1)]]
        self._right_inside = in_scope == self.true
        # A class of its own is confident that a text is out of scope.
        outside = self._best == self._none
        self._in_scope_score = np.where(outside, -self.confidence, self.confidence)
        if none_label in labels:
            # What the head thinks of the labels, were the text of one of them.
            shares = probabilities[:, inside].astype(np.float64)
            best, none = shares.max(axis=1), probabilities[:, class_of == self._none]
            self._in_scope_score = best / np.maximum(best + none.max(axis=1), 1e-12)
            self.confidence_inside = best / np.maximum(shares.sum(axis=1), 1e-12)
            self._best_inside = in_scope
        else:
            self.confidence_inside, self._best_inside = self.confidence, self._best
        self._known = (self.true != self._none).astype(np.float64)
        self._outside = 1.0 - self._known
        self.predicted = self._answer(reject_below)

    def _answer(self, reject_below: float) -> np.ndarray:
        return np.where(self.confidence < reject_below, self._none, self._best)

    def facts(self) -> dict[str, float]:
        """What does not depend on the weights of the texts."""
        figures: dict[str, float] = {"reject_below": self._reject_below}
        if self._outside.any():
            figures["out_of_scope_texts"] = int(self._outside.sum())
        if self.thresholds():
            figures |= self._best_threshold()
        return figures

    def measure(self, weights: np.ndarray) -> dict[str, float]:
        """Figures by name, of (n,) weights."""
        known, outside = weights * self._known, weights * self._outside
        figures = {
            **self._of(self.predicted, weights),
            "in_scope_accuracy": weighted_mean(self._right_inside, known),
            "ece": calibration_error(self.bins(weights)),
            "confidence": weighted_mean(self.confidence_inside, weights),
        }
        if self._outside.any():
            score, rows = self._in_scope_score, self._known > 0
            figures["out_of_scope_auroc"] = separation(
                score[rows], score[~rows], (known[rows], outside[~rows])
            )
        return figures

    def _of(self, predicted: np.ndarray, weights: np.ndarray) -> dict[str, float]:
        """Figures of answers, of which some may be rejections."""
        right = predicted == self.true
        counts = count(self.true, predicted, weights, len(self.names))
        figures = {
            "accuracy": weighted_mean(right, weights),
            "macro_f1": macro_f1(counts),
            "mcc": matthews(counts),
        }
        known, outside = weights * self._known, weights * self._outside
        figures["in_scope_accuracy_rejecting"] = weighted_mean(right, known)
        if self._outside.any():
            figures["out_of_scope_recall"] = weighted_mean(right, outside)
        return figures

    def bins(self, weights: np.ndarray) -> Bins:
        """Of texts in scope: of the others no answer without rejection is right."""
        return calibration(
            self.confidence_inside,
            self._best_inside == self.true,
            weights * self._known,
        )

    def thresholds(self) -> list[dict[str, float]]:
        """What rejecting below each confidence would give."""
        if not (self._outside.any() and self._known.any()):
            return []
        values = sorted({*map(float, THRESHOLDS), float(self._reject_below)})
        return [self._at(value) for value in values]

    def _at(self, reject_below: float) -> dict[str, float]:
        figures = self._of(self._answer(reject_below), np.ones(len(self.true)))
        return {
            "reject_below": reject_below,
            "in_scope_accuracy": figures["in_scope_accuracy_rejecting"],
            "out_of_scope_recall": figures["out_of_scope_recall"],
            "accuracy": figures["accuracy"],
            "mcc": figures["mcc"],
        }

    def _best_threshold(self) -> dict[str, float]:
        values = np.unique(np.quantile(self.confidence, np.arange(201) / 200))
        rows = [self._at(float(value)) for value in [0.0, *values]]
        best = max(rows, key=lambda row: row["mcc"])
        return {"best_mcc": best["mcc"], "best_mcc_below": best["reject_below"]}

    def by_label(self) -> list[dict[str, Any]]:
        """Texts, precision, recall and F1 of each label."""
        counts = count(
            self.true, self.predicted, np.ones(len(self.true)), len(self.names)
        )
        return _figures_by_label(self.names, counts)

    def confusion(self) -> np.ndarray:
        """(true, predicted) numbers of texts."""
        size = len(self.names)
        pairs = self.true * size + self.predicted
        return np.bincount(pairs, minlength=size * size).reshape(size, size)

    def errors(self) -> list[tuple[int, dict[str, Any]]]:
        """Wrong answers, by index, the most confident first."""
        given = (self.predicted != self.true) & (self.predicted != self._none)
        rows = np.flatnonzero(given)
        rows = rows[np.argsort(-self.confidence[rows], kind="stable")]
        return [
            (
                int(i),
                {
                    "label": self.names[self.true[i]],
                    "predicted": self.names[self.predicted[i]],
                    "confidence": float(self.confidence[i]),
                },
            )
            for i in rows
        ]


class LabelSets:
    """Any number of labels a text."""

    names: tuple[str, ...] = ()

    def __init__(
        self,
        wanted: Sequence[Sequence[str]],
        probabilities: np.ndarray,
        labels: Sequence[str],
        unknown: Counter[str],
    ) -> None:
        self._labels = [*labels, *sorted(unknown)]
        place = {name: number for number, name in enumerate(self._labels)}
        self._true = np.zeros((len(wanted), len(self._labels)), bool)
        for number, row in enumerate(wanted):
            self._true[number, [place[name] for name in row]] = True
        # A label that the classifier does not know is missed.
        self._probability = np.zeros(self._true.shape)
        self._probability[:, : len(labels)] = probabilities
        self._given = self._probability >= MULTI_LABEL_FROM

    def facts(self) -> dict[str, float]:
        """What does not depend on the weights of the texts."""
        return {}

    def measure(self, weights: np.ndarray) -> dict[str, float]:
        """Figures by name, of (n,) weights."""
        counts = self._count(weights)
        both = counts.true.sum() + counts.predicted.sum()
        return {
            "accuracy": weighted_mean((self._true == self._given).all(axis=1), weights),
            "macro_f1": macro_f1(counts),
            "micro_f1": float(2.0 * counts.right.sum() / both) if both else math.nan,
            "ece": calibration_error(self.bins(weights)),
            "confidence": weighted_mean(self._probability.max(axis=1), weights),
        }

    def bins(self, weights: np.ndarray) -> Bins:
        """Of every label of every text: its probability, and whether it is right."""
        each = np.repeat(weights, len(self._labels))
        return calibration(self._probability.ravel(), self._true.ravel(), each)

    def thresholds(self) -> list[dict[str, float]]:
        """What rejecting below each confidence would give."""
        return []

    def by_label(self) -> list[dict[str, Any]]:
        """Texts, precision, recall and F1 of each label."""
        return _figures_by_label(self._labels, self._count(np.ones(len(self._true))))

    def confusion(self) -> np.ndarray:
        """(true, predicted) numbers of texts."""
        return np.zeros((0, 0), int)

    def errors(self) -> list[tuple[int, dict[str, Any]]]:
        """Wrong answers, by index, the most confident first."""
        sure = np.maximum(self._probability, 1.0 - self._probability)
        wrong = np.where(self._true != self._given, sure, 0.0).max(axis=1)
        rows = np.argsort(-wrong, kind="stable")[: int((wrong > 0).sum())]
        names = np.array(self._labels, object)
        return [
            (
                int(i),
                {
                    "label": list(names[self._true[i]]),
                    "predicted": list(names[self._given[i]]),
                    "confidence": float(wrong[i]),
                },
            )
            for i in rows
        ]

    def _count(self, weights: np.ndarray) -> Counts:
        return Counts(
            weights @ self._true,
            weights @ self._given,
            weights @ (self._true & self._given),
        )


def _figures_by_label(names: Sequence[str], counts: Counts) -> list[dict[str, Any]]:
    columns = (counts.true, counts.precision, counts.recall, counts.f1)
    rows = zip(names, *columns, strict=True)
    return [
        {
            "label": name,
            "texts": int(texts),
            "precision": _plain(precision),
            "recall": _plain(recall),
            "f1": _plain(f1),
        }
        for name, texts, precision, recall, f1 in rows
        if not np.isnan(f1)
    ]


def _plain(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
