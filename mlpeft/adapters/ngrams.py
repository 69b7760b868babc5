"""Character n-grams of texts as vectors: a misspelled word keeps most of its n-grams.

Each word, with a space at both ends, has n-grams of 2 to 5 characters. One that occurs
k times counts `1 + log k`, with a sign, in one of `DIMS` columns, both by its hash
(Weinberger et al. 2009, arXiv 0902.2206); so nothing has to be fitted or kept.

This file needs NumPy alone: an export to ONNX has a copy of it beside the model.
"""

from __future__ import annotations

import zlib
from functools import lru_cache
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

DIMS: Final = 2048
SIZES: Final = range(2, 6)
MOST_CHARACTERS: Final = 2000
"""Of a text; the rest is not looked at."""
_SIGN: Final = 31


def ngrams(texts: Sequence[str]) -> np.ndarray:
    """(n, `DIMS`) float32 unit vectors; zeros for a text without a word."""
    vectors = np.zeros((len(texts), DIMS), np.float32)
    for row, text in enumerate(texts):
        words = text[:MOST_CHARACTERS].lower().split()
        if not words:
            continue
        hashes, counts = np.unique(
            np.concatenate([_hashes(word) for word in words]), return_counts=True
        )
        sign = np.where(hashes >> _SIGN, 1.0, -1.0)
        np.add.at(vectors[row], hashes % DIMS, sign * (1.0 + np.log(counts)))
        vectors[row] /= max(float(np.linalg.norm(vectors[row])), 1e-12)
    return vectors


@lru_cache(1 << 14)
def _hashes(word: str) -> np.ndarray:
    """The hash of each n-gram of a word, uint32."""
    padded = f" {word} "
    return np.array(
        [
            zlib.crc32(padded[start : start + size].encode("utf-8", "surrogatepass"))
            for size in SIZES
            for start in range(len(padded) - size + 1)
        ],
        np.uint32,
    )
