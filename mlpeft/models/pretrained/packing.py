"""Packs sentences of different lengths into rows of one length.

Padded to the longest sentence of an episode, two of three tokens are padding. Packed,
several short sentences share a row, each attending only to itself, and padding is left
at the end of rows only. Few sentences share one row that is about as long as they are.
Sizes differ little between episodes, so compiled code is reused.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import mlx.core as mx

    from mlpeft.models.pretrained.pooling import Pooling

ROW = 64
"""Tokens per row; a multiple of it if a sentence is longer."""
STEP = 8
"""Of the length of a single row, which has the tokens of two at most."""
LIMIT_BYTES = 512 << 20
"""Of cached hidden states; a sentence of 16 tokens and 384 dims takes 24 KiB."""

Hidden: TypeAlias = npt.NDArray[np.float32]
"""(length, dims) hidden states of a sentence."""

Prepared: TypeAlias = "dict[str, npt.NDArray[np.generic]]"
"""What a model's `prepare` returns: arrays by name."""

Batch: TypeAlias = "dict[str, mx.array]"
"""The same arrays as MLX's: what the model takes in place of token ids."""


def pack(sentences: Sequence[Hidden], pooling: Pooling = "mean") -> Prepared:
    """Pack sentences into rows: the longest first, each into the first row with room.

    Args:
        sentences: At least one; each (length, dims) float32, length at least 1.
        pooling: How `pool` represents a sentence: by its mean, or its first token.

    Returns:
        hidden: (rows, width, dims) float32; zeros where there is no token.
        segment: (rows, width) int32: number of the token's sentence; -1: no token.
        pool: (n, rows width) float32: `pool @ tokens` is each sentence's vector.
    """
    lengths = [len(sentence) for sentence in sentences]
    width = _width(lengths)
    free: list[int] = []
    positions: list[tuple[int, int]] = [(0, 0)] * len(sentences)
    for number in sorted(range(len(sentences)), key=lambda i: (-lengths[i], i)):
        row = next((r for r, f in enumerate(free) if f >= lengths[number]), len(free))
        if row == len(free):
            free.append(width)
        positions[number] = (row, width - free[row])
        free[row] -= lengths[number]
    count, rows = len(sentences), bucket(len(free))
    hidden = np.zeros((rows, width, sentences[0].shape[1]), np.float32)
    segment = np.full((rows, width), -1, np.int32)
    pool = np.zeros((count, rows, width), np.float32)
    for number, (row, start) in enumerate(positions):
        end = start + lengths[number]
        hidden[row, start:end] = sentences[number]
        segment[row, start:end] = number
        if pooling == "cls":
            pool[number, row, start] = 1.0
        else:
            pool[number, row, start:end] = 1.0 / lengths[number]
    flat = pool.reshape(count, rows * width)
    return {"hidden": hidden, "segment": segment, "pool": flat}


def _width(lengths: Sequence[int]) -> int:
    """Tokens per row."""
    total = sum(lengths)
    length, step = (total, STEP) if total <= 2 * ROW else (max(lengths), ROW)
    return -(-length // step) * step


def bucket(size: int) -> int:
    """Round up to three significant binary digits, so that compiled code is reused."""
    step = 1 << max(size.bit_length() - 3, 0)
    return -(-size // step) * step


class FeatureCache:
    """A least-recently-used cache of the frozen layers' hidden states.

    Args:
        limit_bytes: Size of the hidden states to keep.
    """

    def __init__(self, limit_bytes: int = LIMIT_BYTES) -> None:
        self._limit_bytes = limit_bytes
        self._size_bytes = 0
        self._entries: OrderedDict[tuple[int, bytes], Hidden] = OrderedDict()

    def __call__(
        self, row: np.ndarray, layers: int, compute: Callable[[np.ndarray, int], Hidden]
    ) -> Hidden:
        """Hidden states (length, dims) of a sentence.

        Args:
            row: (length,) token ids without padding.
            layers: How many layers are frozen.
            compute: Computes them, if they are not cached.
        """
        key = (layers, row.tobytes())
        if key in self._entries:
            self._entries.move_to_end(key)
            return self._entries[key]
        hidden = self._entries[key] = compute(row, layers)
        self._size_bytes += hidden.nbytes
        while self._size_bytes > self._limit_bytes and len(self._entries) > 1:
            self._size_bytes -= self._entries.popitem(last=False)[1].nbytes
        return hidden
