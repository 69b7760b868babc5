"""Which texts of a pool to label next: those that tell a classifier most.

A text is worth a label if the classifier wavers between two, and if it is like no other
that was chosen; so each has the value `uncertainty * distance` and the best is chosen,
again and again (as Roy and McCallum 2001 weigh uncertainty; distances as in core-sets,
Sener and Savarese 2018, arXiv 1708.00489).
"""

from __future__ import annotations

import numpy as np


def uncertainty(probabilities: np.ndarray, *, multi_label: bool = False) -> np.ndarray:
    """(n,) from 0, sure, to 1, wavering, of (n, labels) probabilities.

    With one label a text it is 1 - (p1 - p2) of the two best labels, with several
    1 - |2 p - 1| of the least certain label.
    """
    if multi_label:
        least: np.ndarray = np.abs(2.0 * probabilities - 1.0).min(axis=1)
        return 1.0 - least
    second, first = np.sort(probabilities, axis=1)[:, -2:].T
    return np.asarray(1.0 - (first - second))


def choose(
    vectors: np.ndarray,
    uncertain: np.ndarray,
    count: int,
    known: np.ndarray | None = None,
) -> list[int]:
    """Rows to label, the most valuable first.

    Args:
        vectors: (n, dims) unit vectors of the pool.
        uncertain: (n,) from `uncertainty`.
        count: The most rows to choose. A copy of a chosen or known text never is.
        known: (m, dims) unit vectors of texts that are labelled.
    """
    nearest = np.full(len(vectors), -1.0)
    if known is not None and len(known):
        nearest = (vectors @ known.T).max(axis=1)
    chosen: list[int] = []
    for _ in range(min(count, len(vectors))):
        # A half: unit vectors are at most 2 apart in cosine distance.
        value = (uncertain + 1e-3) * 0.5 * (1.0 - nearest)
        value[nearest > 1.0 - 1e-5] = -1.0
        best = int(value.argmax())
        if value[best] < 0.0:
            break
        chosen.append(best)
        nearest = np.maximum(nearest, vectors @ vectors[best])
        nearest[best] = 1.0
    return chosen
