"""The confidence below which a text is probably of no label: "none of these".

There are no examples of such texts. But a head that is fitted without some of the
classes meets their examples as texts of no label. So the threshold needs nothing but
the examples.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mlpeft.heads.auto import calibrated
from mlpeft.heads.linear import softmax

if TYPE_CHECKING:
    from mlpeft.heads.auto import FittedHead
    from mlpeft.heads.examples import Examples

SHARE = 0.5
"""Assumed share of texts of no label."""


def rejection_threshold(
    examples: Examples, fitted: FittedHead, share: float = SHARE
) -> float | None:
    """The confidence with the most right answers, of examples and of unknown classes.

    It maximises `(1 - share) P(right, confidence >= t | known class) + share
    P(confidence < t | unknown class)`.

    Args:
        examples: Of one label each; at least three classes.
        fitted: The head that was fitted to them.
        share: The assumed share of texts of no label.

    Returns:
        None if too few examples can be held out to tell.
    """
    known = softmax(fitted.logits) if len(fitted.rows) else np.zeros((0, 2))
    unknown = [
        softmax(
            calibrated(examples[kept], fitted.kind, fitted.factors)(examples.x[held])
        )
        for kept, held in examples.folds_of_classes()
    ]
    if not len(known) or not unknown:
        return None
    confidence = known.max(axis=1)
    right = known.argmax(axis=1) == examples.y[fitted.rows]
    outside = np.concatenate([rows.max(axis=1) for rows in unknown])
    # Between two neighbours, so that neither lies on the threshold.
    values = np.unique(np.concatenate([[0.0], confidence, outside]))
    candidates = np.append(0.5 * (values[1:] + values[:-1]), 0.0)
    kept_right = (confidence >= candidates[:, None]) & right
    score = (1.0 - share) * kept_right.mean(axis=1)
    score += share * (outside < candidates[:, None]).mean(axis=1)
    best = np.sort(candidates[score >= score.max() - 1e-9])
    return float(best[len(best) // 2])
