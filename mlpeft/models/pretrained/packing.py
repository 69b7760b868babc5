"""Sentences of different lengths packed into rows of one length.

Padded to the longest sentence of an episode, two of three tokens are padding. Packed,
several short sentences share a row, each attending to itself alone; what is left of
padding is the end of a row. The number of rows is the only size that differs between
episodes, so compiled code is reused.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from mlpeft.models.pretrained.pooling import Pooling

ROW = 64
"""Tokens of a row; a multiple of it if a sentence is longer."""
LIMIT_BYTES = 512 << 20
"""Of remembered hidden states; 24 KiB for a sentence of 16 tokens and 384 numbers."""

Hidden: TypeAlias = npt.NDArray[np.float32]


Prepared: TypeAlias = dict[str, Any]
"""A batch of sentences, as arrays by name:

hidden   (rows, width, dims) float32; zeros where there is no token
segment  (rows, width) int32: number of the token's sentence; -1: no token
pool     (n, rows width) float32: `pool @ tokens` is each sentence's vector
"""


def pack(sentences: Sequence[Hidden], pooling: Pooling = "mean") -> Prepared:
    """Put sentences into rows, the longest first, each where it fits first.

    Args:
        sentences: At least one; each (length, dims) float32, length at least 1.
        pooling: What `pool` makes of a sentence: its mean, or its first token.
    """
    lengths = [len(sentence) for sentence in sentences]
    width = -(-max(lengths) // ROW) * ROW
    free: list[int] = []
    places: list[tuple[int, int]] = [(0, 0)] * len(sentences)
    for number in sorted(range(len(sentences)), key=lambda i: (-lengths[i], i)):
        row = next((r for r, f in enumerate(free) if f >= lengths[number]), len(free))
        if row == len(free):
            free.append(width)
        places[number] = (row, width - free[row])
        free[row] -= lengths[number]
    count, rows = len(sentences), bucket(len(free))
    hidden = np.zeros((rows, width, sentences[0].shape[1]), np.float32)
    segment = np.full((rows, width), -1, np.int32)
    pool = np.zeros((count, rows, width), np.float32)
    for number, (row, start) in enumerate(places):
        end = start + lengths[number]
        hidden[row, start:end] = sentences[number]
        segment[row, start:end] = number
        if pooling == "cls":
            pool[number, row, start] = 1.0
        else:
            pool[number, row, start:end] = 1.0 / lengths[number]
    flat = pool.reshape(count, rows * width)
    return {"hidden": hidden, "segment": segment, "pool": flat}


def bucket(size: int) -> int:
    """The next number with three leading binary digits: compiled code is reused."""
    step = 1 << max(size.bit_length() - 3, 0)
    return -(-size // step) * step


class Features:
    """Remembers what frozen layers make of a sentence: those used last.

    Args:
        limit_bytes: Of hidden states to keep.
    """

    def __init__(self, limit_bytes: int = LIMIT_BYTES) -> None:
        self._limit = limit_bytes
        self._held = 0
        self._known: OrderedDict[tuple[int, bytes], Hidden] = OrderedDict()

    def __call__(
        self, row: np.ndarray, layers: int, make: Callable[[np.ndarray, int], Hidden]
    ) -> Hidden:
        """Hidden states (length, dims) of a sentence.

        Args:
            row: (length,) token numbers without padding.
            layers: How many layers are frozen.
            make: Computes them, if they are not known.
        """
        key = (layers, row.tobytes())
        if key in self._known:
            self._known.move_to_end(key)
            return self._known[key]
        made = self._known[key] = make(row, layers)
        self._held += made.nbytes
        while self._held > self._limit and len(self._known) > 1:
            self._held -= self._known.popitem(last=False)[1].nbytes
        return made
