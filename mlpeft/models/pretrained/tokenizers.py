"""Text to token numbers and back, by the tokenizer that a pretrained model brings."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from mlpeft.errors import DataError
from mlpeft.models.pretrained.source import model_file, model_path

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


_END_FILES = ("generation_config.json", "config.json", "tokenizer_config.json")


class LanguageTokenizer:
    """The tokenizer of a language model.

    Args:
        tokenizer: Of the package tokenizers.
        end: The number of the token that ends a text.
    """

    def __init__(self, tokenizer: Any, end: int) -> None:
        self._tokenizer = tokenizer
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()
        self.end = end

    def start(self, text: str) -> list[int]:
        """Token numbers of the beginning of a text, with what the model begins with."""
        numbers: list[int] = self._tokenizer.encode(text).ids
        return numbers

    def go_on(self, text: str) -> list[int]:
        """Token numbers of a text that follows another."""
        numbers: list[int] = self._tokenizer.encode(text, add_special_tokens=False).ids
        return numbers

    def text(self, numbers: Sequence[int]) -> str:
        """The text of token numbers, without special tokens."""
        decoded: str = self._tokenizer.decode(list(numbers))
        return decoded


def tokenizer_file(where: str) -> Path:
    """The file that holds a model's tokenizer: tokenizer.json, or its GGUF file.

    Raises:
        DataError: If the model or the file is missing.
    """
    path = model_path(where)
    return path if path.is_file() else model_file(where, TOKENIZER)


def read_language_tokenizer(where: str) -> LanguageTokenizer:
    """The tokenizer of a model (see `mlpeft.models.pretrained.source`; extra: text).

    Raises:
        DataError: If it is missing or cannot be read, or nothing says which token ends
            a text.
    """
    return read_tokenizer_file(tokenizer_file(where))


@lru_cache(maxsize=4)
def read_tokenizer_file(file: Path) -> LanguageTokenizer:
    """The tokenizer of a model's `tokenizer_file`.

    Raises:
        DataError: As `read_language_tokenizer`.
    """
    try:
        import tokenizers
    except ImportError as error:
        raise DataError(
            "text needs the package tokenizers; install it with: "
            "pip install 'mlpeft[text]'"
        ) from error
    if file.name != TOKENIZER:
        from mlpeft.models.pretrained.gguf import read_gguf_tokenizer

        tokenizer, end = read_gguf_tokenizer(file)
    else:
        try:
            tokenizer = tokenizers.Tokenizer.from_file(str(file))
        except Exception as error:  # the package raises Exception itself
            raise DataError(f"{file} cannot be read as a tokenizer: {error}") from error
        end = _end(file.parent, tokenizer)
    if end is None:
        raise DataError(
            f"nothing in {file.parent} says which token ends a text; set eos_token_id "
            "in its generation_config.json"
        )
    return LanguageTokenizer(tokenizer, end)


def _end(folder: Path, tokenizer: Any) -> int | None:
    """The end-of-text token as the first of the model's files that knows has it."""
    for name in _END_FILES:
        file = folder / name
        if not file.is_file():
            continue
        try:
            settings = json.loads(file.read_text(encoding="utf-8"))
        except ValueError as error:
            raise DataError(f"{file} is not valid JSON: {error}") from error
        found = settings.get("eos_token_id")
        if isinstance(found, list):
            found = found[0] if found else None
        token = settings.get("eos_token")
        if isinstance(token, dict):
            token = token.get("content")
        if found is None and isinstance(token, str):
            found = tokenizer.token_to_id(token)
        if found is not None:
            return int(found)
    return None
