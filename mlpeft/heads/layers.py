"""Logistic regression on more than the last layer of an encoder.

`fit_layers` sees several layers, `fit_ngrams` the last one and character n-grams.
These vectors are longer than examples are many, as a rule. The weights W lie in the
span of the examples, so they are found in as many dimensions as there are examples: the
rows of L, with `X X^T = L L^T`, have the same inner products as those of X. From the
weights U of a fit to L comes `W = U L^-1 X`.
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
"""Added to the squared norms, which are about 1: copies of a text make K singular."""


def fit_layers(examples: Examples) -> LinearHead:
    """`fit_logistic` on all layers of the examples."""
    return _fit_in_span(examples.of_layers())


def fit_ngrams(examples: Examples) -> LinearHead:
    """`fit_logistic` on the last layer, as unit vectors, and the n-grams.

    The head has all columns of the examples; those of lower layers are 0.
    """
    if not examples.has_ngrams:
        return _fit_in_span(examples.of_last_layer())
    last, end = examples.last_dims, examples.layers_dims
    columns = np.r_[0:last, end : examples.x.shape[1]]
    factor = 1.0 / max(float(np.linalg.norm(examples.x[0, :last])), 1e-12)
    head = _fit_in_span(replace(examples, x=factor * examples.x[:, columns]))
    weight = np.zeros((len(head.bias), examples.x.shape[1]), np.float32)
    weight[:, columns] = factor * head.weight
    return LinearHead(weight, head.bias)


def _fit_in_span(examples: Examples) -> LinearHead:
    n, dims = examples.x.shape
    if n >= dims:
        return fit_logistic(examples)
    x = examples.x.astype(np.float64)
    root = np.linalg.cholesky(x @ x.T + _JITTER * np.eye(n))
    head = fit_logistic(replace(examples, x=root.astype(np.float32)))
    weight = np.linalg.solve(root.T, head.weight.T.astype(np.float64)).T @ x
    return LinearHead(weight.astype(np.float32), head.bias)
