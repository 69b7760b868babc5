"""Fits a head, calibrates it, and chooses among heads, from the examples alone.

Each kind of head is fitted without some of the examples and scored on these; the one
with the smallest calibrated cross-entropy is taken, fitted to all examples. So the
choice, like the temperature, sees nothing but the examples.

`ngrams` and `layers` see more columns of the examples than those of the last layer.
Users misspell what the examples spell right, which costs a head on layers alone more
(docs/intents.md): so it must be better than `ngrams` by more than chance.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

import numpy as np

from mlpeft.heads.layers import fit_layers, fit_ngrams
from mlpeft.heads.linear import mean_of
from mlpeft.heads.logistic import fit_logistic
from mlpeft.heads.prototype import fit_prototype
from mlpeft.heads.ridge import fit_ridge
from mlpeft.heads.temperature import best_factor, cross_entropy, each_loss

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from mlpeft.heads.examples import Examples
    from mlpeft.heads.linear import LinearHead

HeadKind: TypeAlias = Literal[
    "auto", "prototype", "ridge", "logistic", "ngrams", "layers", "mean"
]
"""`ngrams` is logistic on the encoder's last layer and character n-grams, `layers` on
several layers, `mean` the mean of the calibrated logits of ridge and logistic."""
NGRAMS: Final = "ngrams"
LAYERS: Final = "layers"
HEADS: Final[dict[str, Callable[[Examples], LinearHead]]] = {
    "prototype": lambda examples: fit_prototype(examples.of_last_layer()),
    "ridge": lambda examples: fit_ridge(examples.of_last_layer()),
    "logistic": lambda examples: fit_logistic(examples.of_last_layer()),
    NGRAMS: fit_ngrams,
    LAYERS: fit_layers,
}
KINDS: Final = ("auto", *HEADS, "mean")
_PARTS: Final = ("ridge", "logistic")


@dataclass(frozen=True, slots=True, eq=False)
class FittedHead:
    """A head and what was seen of it on examples that it was not fitted to.

    Attributes:
        head: Calibrated.
        kind: Which it is.
        rows: Rows of the examples that were held out, each once.
        held_out: (rows, classes) calibrated logits of these, by kind of head.
        factors: Inverse temperature by kind of head.
        accuracy: Share of these with the right label, by kind of head; empty where
            every class has one row, and nothing could be held out.
    """

    head: LinearHead
    kind: str
    rows: np.ndarray
    held_out: dict[str, np.ndarray] = field(default_factory=dict)
    factors: dict[str, float] = field(default_factory=dict)
    accuracy: dict[str, float] = field(default_factory=dict)


def fit_head(
    examples: Examples, kind: str = "auto", *, multi_label: bool = False
) -> FittedHead:
    """Fit a head of a kind, or of the best kind.

    Args:
        examples: Embedded examples.
        kind: One of `KINDS`.
        multi_label: Whether an example may have several labels: then each has a
            logistic head with a sigmoid of its own, whatever the kind.
    """
    fits: dict[str, Callable[[Examples], LinearHead]]
    if multi_label:
        examples = examples.of_last_layer()
        fits = {"logistic": partial(fit_logistic, multi_label=True)}
        kind = "logistic"
    else:
        wanted = {"auto": tuple(HEADS), "mean": _PARTS}.get(kind, (kind,))
        if kind == "auto":
            lacks = {LAYERS: not examples.has_layers, NGRAMS: not examples.has_ngrams}
            wanted = tuple(name for name in wanted if not lacks.get(name))
        fits = {name: HEADS[name] for name in wanted}
    rows, held_out = held_out_logits(examples, fits)
    if not len(rows):
        chosen = "prototype" if kind == "auto" else kind
        head = calibrated(examples, chosen, {}, fits)
        return FittedHead(head, chosen, rows)
    targets = examples.targets[rows]
    factors = {
        name: best_factor(logits, targets, multi_label=multi_label)
        for name, logits in held_out.items()
    }
    scored = {name: factors[name] * logits for name, logits in held_out.items()}
    if set(_PARTS) <= set(scored):
        scored["mean"] = 0.5 * (scored["ridge"] + scored["logistic"])
        factors["mean"] = best_factor(scored["mean"], targets)
        scored["mean"] = factors["mean"] * scored["mean"]
    losses = {
        name: cross_entropy(logits, targets, multi_label=multi_label)
        for name, logits in scored.items()
    }
    chosen = min(losses, key=losses.__getitem__) if kind == "auto" else kind
    if chosen == LAYERS and kind == "auto" and NGRAMS in scored:
        excess = each_loss(scored[NGRAMS], targets) - each_loss(scored[LAYERS], targets)
        if excess.mean() <= excess.std() / np.sqrt(len(excess)):
            chosen = NGRAMS
    head = calibrated(examples, chosen, factors, fits)
    accuracy = {
        name: _accuracy(logits, targets, multi_label=multi_label)
        for name, logits in scored.items()
    }
    return FittedHead(head, chosen, rows, scored, factors, accuracy)


def calibrated(
    examples: Examples,
    kind: str,
    factors: Mapping[str, float],
    fits: Mapping[str, Callable[[Examples], LinearHead]] = HEADS,
) -> LinearHead:
    """Fit a head of a kind and scale it by known inverse temperatures."""
    parts = [
        fits[name](examples).scaled(factors.get(name, 1.0)) for name in _parts(kind)
    ]
    head = mean_of(parts)
    return head.scaled(factors.get("mean", 1.0)) if kind == "mean" else head


def held_out_logits(
    examples: Examples, fits: Mapping[str, Callable[[Examples], LinearHead]]
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Logits of held-out rows by kind of head, and the rows; all empty if none can be.

    Returns:
        (rows,) indices, and (rows, classes) logits for each of `fits`.
    """
    rows: list[np.ndarray] = []
    logits: dict[str, list[np.ndarray]] = {name: [] for name in fits}
    for fitted, held in examples.folds():
        kept = examples[fitted]
        rows.append(held)
        for name, fit in fits.items():
            logits[name].append(fit(kept)(examples.x[held]))
    if not rows:
        return np.zeros(0, int), {}
    return np.concatenate(rows), {
        name: np.concatenate(parts) for name, parts in logits.items()
    }


def _parts(kind: str) -> tuple[str, ...]:
    return _PARTS if kind == "mean" else (kind,)


def _accuracy(logits: np.ndarray, targets: np.ndarray, *, multi_label: bool) -> float:
    if multi_label:
        return float(((logits > 0) == (targets > 0)).mean())
    return float((logits.argmax(axis=1) == targets.argmax(axis=1)).mean())
