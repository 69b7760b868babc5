"""Learns from texts without labels: soft k-means that starts from labelled examples.

Each unlabelled embedding belongs to class c with probability `p_c ~ pi_c exp(s cos(e,
m_c))`; m_c and the share pi_c of each class are then the means over labelled examples,
which count in full, and unlabelled ones, which count by p (Ren et al. 2018, arXiv
1803.00676; Nigam et al. 2000 for the shares). Predictions for the very texts that were
given are transductive.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mlpeft.heads.linear import ABSENT, LinearHead, narrowed, softmax
from mlpeft.heads.prototype import fit_prototype

if TYPE_CHECKING:
    from mlpeft.heads.examples import Examples

SCALE = 20.0
"""s: how sharply texts are divided among classes."""
ROUNDS = 10
_PRIOR = 1.0
"""Texts that each class is given beforehand when shares are estimated, as a part of a
class's even share: so that no class dies out."""


def fit_with_unlabelled(examples: Examples, unlabelled: np.ndarray) -> LinearHead:
    """Fit class means to examples and (m, dims) unlabelled unit vectors.

    Of vectors of several layers it sees the last layer's.
    """
    examples = examples.of_last_layer()
    unlabelled = narrowed(unlabelled, examples.x.shape[1])
    head = fit_prototype(examples).scaled(SCALE / 10.0)
    present = examples.targets.any(axis=0)
    member = examples.targets * examples.weights[:, None]
    labelled = member.T @ examples.x
    even = _PRIOR * len(unlabelled) / max(int(present.sum()), 1)
    for _ in range(ROUNDS):
        shares = softmax(head(unlabelled))
        sizes = np.where(present, shares.sum(axis=0) + even, 0.0)
        means = labelled + shares.T @ unlabelled
        norms = np.maximum(np.linalg.norm(means, axis=1, keepdims=True), 1e-12)
        prior = np.log(np.maximum(sizes / sizes.sum(), 1e-12))
        head = LinearHead(
            (SCALE * means / norms).astype(np.float32),
            np.where(present, prior, ABSENT).astype(np.float32),
        )
    return head


def is_no_worse(examples: Examples, unlabelled: np.ndarray, accuracy: float) -> bool:
    """Whether held-out examples are classified as well with unlabelled texts.

    Args:
        examples: Of one label each.
        unlabelled: (m, dims) unit vectors.
        accuracy: Of the best head without, on the same held-out examples.
    """
    right = []
    for fitted, held in examples.folds():
        logits = fit_with_unlabelled(examples[fitted], unlabelled)(examples.x[held])
        right.append(logits.argmax(axis=1) == examples.y[held])
    return not right or float(np.concatenate(right).mean()) >= accuracy
