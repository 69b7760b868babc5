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

from mlpeft.adapters.answers import Answers, LabelSets
from mlpeft.adapters.classifier import NONE_OF_THESE
from mlpeft.adapters.measures import (
    BINS,
    Bins,
    bootstrap,
)
from mlpeft.errors import DataError, nearest

if TYPE_CHECKING:
    from collections.abc import Sequence

RESAMPLES = 1000


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
        answers: Answers | LabelSets = LabelSets(wanted, probabilities, labels, unknown)
    else:
        _check_single(texts, wanted)
        if unknown and out_of_scope is not None:
            raise DataError(_tell_unknown(unknown, labels, out_of_scope))
        answers = Answers(
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
