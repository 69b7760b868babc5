"""The nearest class mean (Snell et al. 2017, arXiv 1703.05175, with the cosine)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mlpeft.heads.linear import ABSENT, LinearHead

if TYPE_CHECKING:
    from mlpeft.heads.examples import Examples

SCALE = 10.0
"""Inverse temperature of the cosines, before calibration."""


def fit_prototype(examples: Examples) -> LinearHead:
    """`logits_c = 10 cos(e, m_c)`, m_c being the weighted mean of class c."""
    member = examples.targets * examples.weights[:, None]
    means = member.T @ examples.x
    norms = np.linalg.norm(means, axis=1, keepdims=True)
    weight = SCALE * means / np.maximum(norms, 1e-12)
    present = examples.targets.any(axis=0)
    return LinearHead(
        weight.astype(np.float32), np.where(present, 0.0, ABSENT).astype(np.float32)
    )
