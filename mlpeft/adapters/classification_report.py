"""What a classifier is worth on labelled texts that it has not seen.

`report` takes probabilities, so it knows no model: TextClassifier.evaluate and
`mlpeft test` share it.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from mlpeft.adapters.classifier import NONE_OF_THESE
from mlpeft.adapters.measures import (
    BINS,
    Bins,
    Counts,
    bootstrap,
    calibration,
    calibration_error,
    count,
    macro_f1,
    matthews,
    separation,
    weighted_mean,
)
from mlpeft.errors import DataError, nearest

if TYPE_CHECKING:
    from collections.abc import Sequence

THRESHOLDS = (*(number / 20 for number in range(20)), 0.99)
"""Confidences below which texts are rejected, in the table of thresholds."""
RESAMPLES = 1000
MULTI_LABEL_FROM = 0.5
"""Probability from which a label of several is predicted."""


@dataclass(frozen=True, slots=True)
class ClassificationReport:
    """Figures of answers to labelled texts.

    Attributes:
        figures: Each figure by name; see docs/text_classifiers.md.
        intervals: 95 % bootstrap interval, over the texts, of each figure.
        labels: Of each label its texts, precision, recall and F1 (None: undefined).
        names: Labels in the order of `confusion`; empty with several labels a text.
        confusion: (true, predicted) numbers of texts.
        reliability: Texts, mean confidence and accuracy of each bin of confidence.
        thresholds: What rejecting below each confidence would give; empty unless
            there are texts in scope and out of it.
        worst: The wrong answers with most confidence.
        unknown: Texts by label, of labels that the classifier does not know.
    """

    figures: dict[str, float]
    intervals: dict[str, tuple[float, float]]
    labels: list[dict[str, Any]]
    names: tuple[str, ...]
    confusion: np.ndarray
    reliability: list[dict[str, float]]
    thresholds: list[dict[str, float]]
    worst: list[dict[str, Any]]
    unknown: dict[str, int] = field(default_factory=dict)

    @property
    def confused(self) -> list[dict[str, Any]]:
        """Pairs of labels that were taken for each other, the most frequent first."""
        wrong = self.confusion - np.diag(np.diag(self.confusion))
        pairs = np.argwhere(wrong)
        order = np.argsort([-wrong[i, j] for i, j in pairs], kind="stable")
        return [
            {
                "label": self.names[i],
                "predicted": self.names[j],
                "texts": int(wrong[i, j]),
            }
            for i, j in pairs[order]
        ]

    def to_dict(self) -> dict[str, Any]:
        """Plain values: the figures, and the rest by name."""
        rest = asdict(self)
        figures = rest.pop("figures")
        del rest["confusion"], rest["names"]
        rest["intervals"] = {k: list(v) for k, v in self.intervals.items()}
        return {**figures, **rest, "confused": self.confused}


def report(
    texts: Sequence[str],
    wanted: Sequence[Sequence[str]],
    probabilities: np.ndarray,
    labels: Sequence[str],
    *,
    multi_label: bool = False,
    reject_below: float = 0.0,
    out_of_scope: str | None = None,
    none_label: str = NONE_OF_THESE,
    seed: int = 0,
    resamples: int = RESAMPLES,
    worst: int = 10,
) -> ClassificationReport:
    """Compare probabilities with the right labels.

    Args:
        texts: n texts.
        wanted: The labels of each; one each, unless `multi_label`.
        probabilities: (n, labels).
        labels: The classifier's, in the order of the columns.
        multi_label: Whether a text may have several labels.
        reject_below: Confidence below which the answer is `none_label`.
        out_of_scope: The label of texts that have none of the labels; the classifier
            may know it, too. None: every label that the classifier does not know.
        none_label: The name of "none of the labels".
        seed: Of the bootstrap.
        resamples: Of the bootstrap.
        worst: Wrong answers to keep.

    Raises:
        DataError: If there are no texts, a text has several labels and the classifier
            gives one, or a label is neither known nor `out_of_scope`.
    """
    if not len(texts):
        raise DataError("no texts to test with; expected at least one with its label")
    known = {*labels, none_label, out_of_scope}
    unknown = Counter(name for row in wanted for name in row if name not in known)
    if multi_label:
        if out_of_scope is not None:
            raise DataError(
                f"out of scope is {out_of_scope!r}, but this adapter gives each text "
                "any number of labels; give texts out of scope an empty list of them"
            )
        answers: _Answers | _LabelSets = _LabelSets(
            wanted, probabilities, labels, unknown
        )
    else:
        _check_single(texts, wanted)
        if unknown and out_of_scope is not None:
            raise DataError(_tell_unknown(unknown, labels, out_of_scope))
        answers = _Answers(
            [row[0] if row else none_label for row in wanted],
            probabilities,
            labels,
            reject_below,
            out_of_scope,
            none_label,
        )
    ones = np.ones(len(texts))
    figures = {"texts": len(texts), **answers.facts(), **answers.measure(ones)}
    return ClassificationReport(
        figures={k: v for k, v in figures.items() if not math.isnan(v)},
        intervals=bootstrap(
            answers.measure, len(texts), seed=seed, resamples=resamples
        ),
        labels=answers.by_label(),
        names=tuple(answers.names),
        confusion=answers.confusion(),
        reliability=_bins(answers.bins(ones)),
        thresholds=answers.thresholds(),
        worst=[{"text": texts[i], **said} for i, said in answers.errors()[:worst]],
        unknown=dict(unknown),
    )


class _Answers:
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
        scope = [label for label in labels if label != out_of_scope]
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
        self._known = (self.true != self._none).astype(np.float64)
        self._outside = 1.0 - self._known
        self.predicted = self._answer(reject_below)

    def _answer(self, reject_below: float) -> np.ndarray:
        return np.where(self.confidence < reject_below, self._none, self._best)

    def facts(self) -> dict[str, float]:
        figures: dict[str, float] = {"reject_below": self._reject_below}
        if self._outside.any():
            figures["out_of_scope_texts"] = int(self._outside.sum())
        if self.thresholds():
            figures |= self._best_threshold()
        return figures

    def measure(self, weights: np.ndarray) -> dict[str, float]:
        known, outside = weights * self._known, weights * self._outside
        figures = {
            **self._of(self.predicted, weights),
            "in_scope_accuracy": weighted_mean(self._right_inside, known),
            "ece": calibration_error(self.bins(weights)),
            "confidence": weighted_mean(self.confidence, weights),
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
            self.confidence, self._best == self.true, weights * self._known
        )

    def thresholds(self) -> list[dict[str, float]]:
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
        counts = count(
            self.true, self.predicted, np.ones(len(self.true)), len(self.names)
        )
        return _by_label(self.names, counts)

    def confusion(self) -> np.ndarray:
        size = len(self.names)
        pairs = self.true * size + self.predicted
        return np.bincount(pairs, minlength=size * size).reshape(size, size)

    def errors(self) -> list[tuple[int, dict[str, Any]]]:
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


class _LabelSets:
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
        return {}

    def measure(self, weights: np.ndarray) -> dict[str, float]:
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
        return []

    def by_label(self) -> list[dict[str, Any]]:
        return _by_label(self._labels, self._count(np.ones(len(self._true))))

    def confusion(self) -> np.ndarray:
        return np.zeros((0, 0), int)

    def errors(self) -> list[tuple[int, dict[str, Any]]]:
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


def _check_single(texts: Sequence[str], wanted: Sequence[Sequence[str]]) -> None:
    for text, row in zip(texts, wanted, strict=True):
        if len(row) > 1:
            raise DataError(
                f"the text {text[:40]!r} has the labels {', '.join(row)}, but this "
                "adapter gives one; give each text one label"
            )


def _tell_unknown(
    unknown: Counter[str], labels: Sequence[str], out_of_scope: str
) -> str:
    (name, texts), *others = unknown.most_common()
    more = f" ({len(others)} more labels are not known, either)" if others else ""
    return (
        f"the label {name!r} ({texts:,} of the texts) is neither out of scope "
        f"({out_of_scope!r}) nor one of the adapter's{more}; correct it "
        f"({nearest(name, labels)}), or name no out-of-scope label: then all labels "
        "that are not known are out of scope"
    )


def _by_label(names: Sequence[str], counts: Counts) -> list[dict[str, Any]]:
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


def _bins(bins: Bins) -> list[dict[str, float]]:
    return [
        {
            "from": number / BINS,
            "to": (number + 1) / BINS,
            "texts": int(weight),
            "confidence": float(confidence),
            "accuracy": float(accuracy),
        }
        for number, (weight, confidence, accuracy) in enumerate(zip(*bins, strict=True))
        if weight > 0
    ]
