"""Texts to rows of token numbers, by the tokenizer that a pretrained model brings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from mlpeft.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

TOKENIZER = "tokenizer.json"
_PADS = ("[PAD]", "<pad>")


@dataclass(frozen=True, slots=True, eq=False)
class Tokens:
    """Tokenised texts.

    Attributes:
        rows: (texts, longest) int32, padded at the end.
        lengths: (texts,) tokens of each, with its special ones.
        pad: The number of the padding token.
    """

    rows: npt.NDArray[np.int32]
    lengths: npt.NDArray[np.int64]
    pad: int


class Tokeniser:
    """A tokenizer.json of Hugging Face's format (extra: text).

    Args:
        file: The tokenizer.json.
        max_tokens: Longer texts are cut to so many tokens, special ones included.

    Raises:
        DataError: If the package `tokenizers` is not installed, or the file cannot be
            read or names no padding token.
    """

    def __init__(self, file: Path, max_tokens: int) -> None:
        try:
            import tokenizers
        except ImportError as error:
            raise DataError(
                "text needs the package tokenizers; install it with: "
                "pip install 'mlpeft[text]'"
            ) from error
        try:
            self._tokenizer: Any = tokenizers.Tokenizer.from_file(str(file))
        except Exception as error:  # the package raises Exception itself
            raise DataError(f"{file} cannot be read as a tokenizer: {error}") from error
        pads = [self._tokenizer.token_to_id(name) for name in _PADS]
        known = [pad for pad in pads if pad is not None]
        if not known:
            raise DataError(f"{file} names no padding token ({' or '.join(_PADS)})")
        self.pad: int = known[0]
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(max_tokens)

    def __call__(self, texts: Sequence[str]) -> Tokens:
        """Token numbers of at least one text."""
        ids = [encoded.ids for encoded in self._tokenizer.encode_batch(list(texts))]
        lengths = np.array([len(row) for row in ids])
        rows = np.full((len(ids), int(lengths.max())), self.pad, np.int32)
        for row, tokens in zip(rows, ids, strict=True):
            row[: len(tokens)] = tokens
        return Tokens(rows, lengths, self.pad)
