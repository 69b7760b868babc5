"""Matrices as products of two narrow ones, by a step of the power iteration (PowerSGD).

A leaf of m rows and n columns (a convolution's filters are rows) becomes P of m x r and
Q of n x r with `M ~ P Q^T`: from a start at random `P = orth(M start)` and `Q = M^T P`.
So `P Q^T = P P^T M` is M as far as P's columns reach, and those reach where M is large.
A second step would come nearer, and cost as much again. Leaves that two factors would
not make smaller, vectors among them, are sent as they are.

No product here is a BLAS's: sums go row by row, in operations that each round once, so
that every machine has the same bits of the same matrix. A coordinator multiplies the
factors that its workers sent, and has their bits.

References:
    Vogels, Karimireddy and Jaggi, "PowerSGD: Practical Low-Rank Gradient Compression
    for Distributed Optimization", 2019, arXiv 1905.13727 (algorithm 1), without its
    memory and with a new start each time.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from mlpeft.meta.rounding import Flat
    from mlpeft.params import NumpyTree, ParamTree, Schema

Matrix: TypeAlias = np.ndarray[tuple[int, int], np.dtype[Any]]
Shapes: TypeAlias = "Sequence[tuple[int, ...]]"

_NOISE = 1e-5
"""Of a column's norm: what is left of it beside others, and rounding alone."""


def factors_schema(shapes: Shapes, rank: int) -> Schema:
    """Leaves, shapes and dtypes of `to_factors`.

    Args:
        shapes: Of theta's leaves in the order of their names.
        rank: Columns of the factors.
    """
    left = right = rest = 0
    for shape in shapes:
        m, n = _sides(shape)
        if _is_factored(shape, rank):
            left, right = left + m * rank, right + n * rank
        else:
            rest += m * n
    sizes = {"packed/left": left, "packed/right": right, "packed/rest": rest}
    return {name: ((size,), "float32") for name, size in sizes.items()}


def to_factors(
    flat: Flat, shapes: Shapes, rank: int, rng: np.random.Generator
) -> NumpyTree:
    """The factors of all leaves, each kind as one vector.

    Args:
        flat: All leaves as one float32 vector.
        shapes: Theirs, in order.
        rank: Columns of the factors.
        rng: Draws where the iterations start.
    """
    left, right, rest = [], [], []
    for shape, leaf in _cut(flat, shapes):
        if _is_factored(shape, rank):
            p, q = _factors(leaf.reshape(_sides(shape)), rank, rng)
            left.append(p.reshape(-1))
            right.append(q.reshape(-1))
        else:
            rest.append(leaf)
    parts = {"packed/left": left, "packed/right": right, "packed/rest": rest}
    return {name: _joined(part) for name, part in parts.items()}


def from_factors(packed: ParamTree, shapes: Shapes, rank: int) -> Flat:
    """What `to_factors` made, as one vector.

    Args:
        packed: Of `factors_schema`; any numbers.
        shapes: Of theta's leaves, in order.
        rank: Columns of the factors.
    """
    left, right = packed["packed/left"], packed["packed/right"]
    rest = packed["packed/rest"]
    leaves = []
    for shape in shapes:
        m, n = _sides(shape)
        if _is_factored(shape, rank):
            p, left = left[: m * rank].reshape(m, rank), left[m * rank :]
            q, right = right[: n * rank].reshape(n, rank), right[n * rank :]
            leaves.append(_product(p, q).reshape(-1))
        else:
            leaf, rest = rest[: m * n], rest[m * n :]
            leaves.append(leaf)
    return _joined(leaves)


def _sides(shape: tuple[int, ...]) -> tuple[int, int]:
    """Rows and columns of a leaf, seen as a matrix."""
    return (shape[0] if shape else 1), math.prod(shape[1:])


def _is_factored(shape: tuple[int, ...], rank: int) -> bool:
    m, n = _sides(shape)
    return rank * (m + n) < m * n


def _cut(flat: Flat, shapes: Shapes) -> Iterator[tuple[tuple[int, ...], Flat]]:
    """Each leaf's shape and numbers."""
    start = 0
    for shape in shapes:
        end = start + math.prod(shape)
        yield shape, flat[start:end]
        start = end


def _joined(parts: list[Flat]) -> Flat:
    return np.concatenate(parts) if parts else np.zeros(0, dtype=np.float32)


# --- one matrix -----------------------------------------------------------------------


def _factors(
    matrix: Matrix, rank: int, rng: np.random.Generator
) -> tuple[Matrix, Matrix]:
    """P with orthonormal columns, or columns of zeros, and `Q = M^T P`.

    Zeros stand for directions that M has not, so a matrix of lower rank is kept whole.
    """
    # Exact in float32 and drawn without a logarithm: the same numbers everywhere.
    start = rng.random((matrix.shape[1], rank), dtype=np.float32) - np.float32(0.5)
    with np.errstate(over="ignore", invalid="ignore"):
        p = _orthonormal(_summed(np.ascontiguousarray(matrix.T), start))
        return p, _summed(matrix, p)


def _summed(rows: Matrix, weights: Matrix) -> Matrix:
    """`rows^T weights`, (k, m) and (k, r) to (m, r), row after row."""
    made = [
        (rows * weights[:, column : column + 1]).sum(axis=0)
        for column in range(weights.shape[1])
    ]
    return np.stack(made, axis=1)


def _orthonormal(matrix: Matrix) -> Matrix:
    """The columns by Gram and Schmidt's method, twice, in float64.

    A column that is a sum of those before it becomes zeros, not noise; NaN stays.
    """
    rows: list[np.ndarray[Any, Any]] = []  # contiguous columns
    for column in np.ascontiguousarray(matrix.T).astype(np.float64):
        norm, left = _norm(column), column
        for _ in range(2):
            for other in rows:
                left = left - other * (other * left).sum()
        now = _norm(left)
        zero = now <= _NOISE * norm  # false of NaN
        rows.append(np.zeros_like(left) if zero else left / now)
    return np.stack(rows, axis=1).astype(np.float32)


def _norm(column: np.ndarray[Any, Any]) -> float:
    return float(np.sqrt((column * column).sum()))


def _product(p: Matrix, q: Matrix) -> Matrix:
    """`P Q^T`, one column of each after another."""
    product: Matrix = p[:, :1] * q[:, 0]
    for column in range(1, p.shape[1]):
        product += p[:, column : column + 1] * q[:, column]
    return product
