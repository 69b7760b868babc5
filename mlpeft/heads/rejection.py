"""The logit of "none of these": a text whose logits are all below it has no label.

There are no examples of such texts. But a head that is fitted without some of the
classes meets their examples as texts of no label. So the examples tell where the
largest logit of texts of no label ends and that of others begins.

The largest logit of a logistic head separates them better than its largest probability,
which is large too where one class is merely less unlikely than the others (as for the
logits of networks: Hendrycks et al. 2022, arXiv 1911.11132). `docs/intents.md` has the
comparison.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from mlpeft.heads.auto import calibrated, held_out_logits
from mlpeft.heads.linear import LinearHead

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from mlpeft.heads.auto import FittedHead
    from mlpeft.heads.examples import Examples

SHARE = 0.5
"""Assumed share of texts of no label."""


class Rejection(NamedTuple):
    """Where a head begins to reject.

    Attributes:
        kind: Of the head.
        logit: Below it, the largest of the others' logits is that of no label.
        score: `(1 - share) P(right, not rejected | known class) + share P(rejected |
            unknown class)`, of held-out examples.
    """

    kind: str
    logit: float
    score: float


def choose_rejection(
    examples: Examples,
    fitted: FittedHead,
    kinds: Iterable[str],
    share: float = SHARE,
) -> Rejection | None:
    """The kind of head, and the logit, that tell best what has no label.

    Args:
        examples: Of one label each; at least three classes.
        fitted: What was fitted to them.
        kinds: Of heads, of those in `fitted.held_out`.
        share: The assumed share of texts of no label.

    Returns:
        None if too few examples can be held out to tell.
    """
    found = [
        rejection(
            examples,
            kind,
            partial(calibrated, kind=kind, factors=fitted.factors),
            (fitted.rows, fitted.held_out[kind]),
            share,
        )
        for kind in kinds
        if kind in fitted.held_out
    ]
    told = [one for one in found if one is not None]
    return max(told, key=lambda one: one.score) if told else None


def rejection(
    examples: Examples,
    kind: str,
    fit: Callable[[Examples], LinearHead],
    held_out: tuple[np.ndarray, np.ndarray] | None = None,
    share: float = SHARE,
) -> Rejection | None:
    """The logit that tells best what has no label, for one way to fit a head.

    Args:
        examples: As for `choose_rejection`.
        kind: Its name.
        fit: From examples to a head.
        held_out: Rows that were held out, and (rows, classes) their logits; None: they
            are computed.
        share: The assumed share of texts of no label.

    Returns:
        None if too few examples can be held out to tell.
    """
    if held_out is None:
        rows, logits = held_out_logits(examples, {kind: fit})
        held_out = (rows, logits.get(kind, rows[:, None]))
    rows, known = held_out
    folds = examples.folds_of_classes()
    unknown = [
        fit(examples[kept].of_known_classes())(examples.x[held]).max(axis=1)
        for kept, held in folds
    ]
    if not len(rows) or not unknown:
        return None
    right = known.argmax(axis=1) == examples.y[rows]
    inside, outside = known.max(axis=1), np.concatenate(unknown)
    # Between two neighbours, so that neither lies on the limit.
    values = np.unique(np.concatenate([inside, outside]))
    values = np.concatenate([[values[0] - 1.0], values])
    candidates = np.append(0.5 * (values[1:] + values[:-1]), values[0])
    kept_right = (inside >= candidates[:, None]) & right
    score = (1.0 - share) * kept_right.mean(axis=1)
    score += share * (outside < candidates[:, None]).mean(axis=1)
    best = np.sort(candidates[score >= score.max() - 1e-9])
    return Rejection(kind, float(best[len(best) // 2]), float(score.max()))


def with_none(head: LinearHead, logit: float) -> LinearHead:
    """The head with one class more, the last, which always has the same logit."""
    row = np.zeros((1, head.weight.shape[1]), np.float32)
    return LinearHead(
        np.concatenate([head.weight, row]),
        np.append(head.bias, np.float32(logit)),
    )
