"""Logistic regression on the vectors of several layers of an encoder.

These are longer than examples are many, as a rule. The weights W lie in the span of the
examples, so they are found in as many dimensions as there are examples: the rows of L,
with `X X^T = L L^T`, have the same inner products as those of X. From the weights U of
a fit to L comes `W = U L^-1 X`.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

import numpy as np

from mlpeft.heads.linear import LinearHead
from mlpeft.heads.logistic import fit_logistic

if TYPE_CHECKING:
    from mlpeft.heads.examples import Examples

_JITTER: Final = 1e-6
"""Added to the squared norms, which are 1: copies of a text make K singular."""


def fit_layers(examples: Examples) -> LinearHead:
    """`fit_logistic` on all columns of the examples."""
    n, dims = examples.x.shape
    if n >= dims:
        return fit_logistic(examples)
    x = examples.x.astype(np.float64)
    root = np.linalg.cholesky(x @ x.T + _JITTER * np.eye(n))
    head = fit_logistic(replace(examples, x=root.astype(np.float32)))
    weight = np.linalg.solve(root.T, head.weight.T.astype(np.float64)).T @ x
    return LinearHead(weight.astype(np.float32), head.bias)
