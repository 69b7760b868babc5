"""Parameter trees: flat dicts from a leaf's dotted path to its array.

Trees are sent, averaged and saved. The arithmetic uses operators only, so it works on
NumPy arrays and `mx.array` alike, and visits leaves sorted by name, so that a sum has
one result.
"""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

import numpy as np

from mlpeft import array_files
from mlpeft.errors import CheckpointError, ParamMismatch, counted, nearest

if TYPE_CHECKING:
    from collections.abc import Mapping

    import mlx.core as mx

Array: TypeAlias = Any
"""An `np.ndarray` or an `mx.array`."""

ArrayT = TypeVar("ArrayT", np.ndarray, "mx.array")
"""One of the two, and the same throughout."""

ParamTree: TypeAlias = dict[str, Array]
"""Dotted path of a leaf (as MLX names it) -> its array."""

NumpyTree: TypeAlias = dict[str, np.ndarray]
"""A tree on its way: what is saved, sent and averaged."""

MlxTree: TypeAlias = "dict[str, mx.array]"
"""A tree that is computed with."""

Schema: TypeAlias = dict[str, tuple[tuple[int, ...], str]]
"""Dotted path of a leaf -> (shape, dtype name)."""


def dtype_name(array: Array) -> str:
    """The dtype's plain name ("float32") for NumPy and MLX arrays alike."""
    return _plain_name(array.dtype)


@cache  # NumPy takes 5 us to spell one, and each leaf of each update is asked
def _plain_name(dtype: Any) -> str:
    return str(dtype).rpartition(".")[2]


def schema(tree: Mapping[str, Array]) -> Schema:
    """Shape and dtype of every leaf, sorted by name."""
    return {
        name: (tuple(tree[name].shape), dtype_name(tree[name])) for name in sorted(tree)
    }


def check_schema(expected: Schema, tree: Mapping[str, Array], what: str) -> None:
    """Check that a tree has exactly the expected leaves.

    Args:
        expected: The schema it must have.
        tree: The tree to check.
        what: What the tree is, for the message ("checkpoint a.npz", "update of w1").

    Raises:
        ParamMismatch: Naming the first leaf that is missing, unexpected, or of another
            shape or dtype, with both.
    """
    if expected.keys() != tree.keys():
        raise ParamMismatch(f"{what}: {_first_stranger(expected, tree)}")
    for name, (shape, dtype) in expected.items():
        leaf = tree[name]
        if tuple(leaf.shape) != shape:
            raise ParamMismatch(
                f"{what}: leaf {name!r} has shape {tuple(leaf.shape)}, expected {shape}"
            )
        if dtype_name(leaf) != dtype:
            raise ParamMismatch(
                f"{what}: leaf {name!r} is {dtype_name(leaf)}, expected {dtype}"
            )


def _first_stranger(expected: Schema, tree: Mapping[str, Array]) -> str:
    """The first leaf that only one of both has."""
    missing = sorted(expected.keys() - tree.keys())
    if missing:
        return (
            f"leaf {missing[0]!r} is missing; it has {len(tree)} leaves, expected "
            f"{len(expected)}. Was it made for another model?"
        )
    unexpected = min(tree.keys() - expected.keys())
    return f"leaf {unexpected!r} is not expected; {nearest(unexpected, expected)}"


def to_numpy(tree: Mapping[str, Array]) -> NumpyTree:
    """Convert leaves to NumPy (views where memory can be shared)."""
    return {name: np.asarray(tree[name]) for name in sorted(tree)}


def add(left: Mapping[str, ArrayT], right: Mapping[str, ArrayT]) -> dict[str, ArrayT]:
    """`left + right`, leaf by leaf."""
    return {name: left[name] + right[name] for name in sorted(left)}


def subtract(
    left: Mapping[str, ArrayT], right: Mapping[str, ArrayT]
) -> dict[str, ArrayT]:
    """`left - right`, leaf by leaf."""
    return {name: left[name] - right[name] for name in sorted(left)}


def scale(tree: Mapping[str, ArrayT], factor: Array) -> dict[str, ArrayT]:
    """`factor * tree`, leaf by leaf."""
    return {name: tree[name] * factor for name in sorted(tree)}


class OrderedSum:
    """`((t_0 + t_1) + t_2) + ...`, leaf by leaf, of trees that come in any order.

    A sum of floats has other bits in another order, so a tree waits until those before
    it are in. The memory of one that is added is free.

    Attributes:
        done: How many trees are in the sum: t_0 .. t_(done - 1).
        total: Their sum, in the trees' own dtype (float32).
    """

    def __init__(self) -> None:
        self.done = 0
        self.total: ParamTree = {}
        self._early: dict[int, tuple[Mapping[str, Array], bool]] = {}
        self._is_ours = False  # whether the total's arrays may be changed

    def add(
        self, index: int, tree: Mapping[str, Array], *, owned: bool = False
    ) -> None:
        """Take in a tree.

        Args:
            index: Its place in the order.
            tree: `t_index`, NumPy leaves.
            owned: Whether nobody else holds its arrays, so that the sum may be made in
                them; else they are not changed.
        """
        self._early[index] = tree, owned
        while self.done in self._early:
            self._add(*self._early.pop(self.done))
            self.done += 1

    def close(self) -> None:
        """Add what is in although others before it are not, in the same order."""
        for index in sorted(self._early):
            self._add(*self._early.pop(index))
            self.done += 1

    def _add(self, tree: Mapping[str, Array], owned: bool) -> None:
        if not self.done:
            self.total, self._is_ours = dict(tree), owned
        elif not self._is_ours:
            self.total, self._is_ours = add(self.total, tree), True
        else:
            for name, leaf in tree.items():
                np.add(self.total[name], leaf, out=self.total[name])


def global_norm(tree: Mapping[str, Array]) -> float:
    """Euclidean norm over all leaves, accumulated in float64."""
    total = 0.0
    for name in sorted(tree):
        leaf = np.asarray(tree[name], dtype=np.float64)
        total += float(np.dot(leaf.ravel(), leaf.ravel()))
    return float(np.sqrt(total))


def count(tree: Mapping[str, Array]) -> int:
    """The number of elements in all leaves."""
    return sum(int(np.prod(leaf.shape)) for leaf in tree.values())


def summary(tree: Mapping[str, Array]) -> str:
    """The size of a tree, for a repr: 4 arrays, 386 numbers."""
    return f"{counted(len(tree), 'array')}, {counted(count(tree), 'number')}"


def digest(tree: Mapping[str, Array]) -> str:
    """SHA-256 over names, shapes, dtypes and bytes of all leaves, in hexadecimal."""
    sha256 = hashlib.sha256()
    for name in sorted(tree):
        leaf = np.ascontiguousarray(np.asarray(tree[name]))
        sha256.update(f"{name}\0{leaf.dtype.str}\0{leaf.shape}\0".encode())
        sha256.update(leaf.data)
    return sha256.hexdigest()


def write_npz(path: str | Path, tree: ParamTree) -> None:
    """Write a tree of NumPy leaves atomically; missing folders are created."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    with partial.open("wb") as file:
        np.savez(file, **tree)
    partial.replace(path)


def read_npz(path: str | Path) -> NumpyTree:
    """Read a tree, without unpickling anything.

    Raises:
        FileNotFoundError: Naming the absolute path.
        CheckpointError: If it is not such a file.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no checkpoint at {path.absolute()}")
    try:
        return array_files.read_npz(path)
    except ValueError as error:
        raise CheckpointError(
            f"{path} is not an .npz checkpoint, or is damaged; give a file that "
            "ReptileLearner.save wrote"
        ) from error
