"""Text to token ids and back, by the tokenizer of a pretrained model."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from mlpeft.errors import DataError, MlpeftError
from mlpeft.file_caches import cached_read
from mlpeft.files import parse_json_object
from mlpeft.models.pretrained.source import model_file, model_path

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from tokenizers import Tokenizer

TOKENIZER = "tokenizer.json"
_PADS = ("[PAD]", "<pad>")
_PANIC = "PanicException"
"""pyo3's exception for a bug in Rust code; a BaseException that no module exports."""


@dataclass(frozen=True, slots=True, eq=False)
class Tokens:
    """Tokenised texts.

    Attributes:
        rows: (texts, longest) int32, padded at the end.
        lengths: (texts,) tokens of each, special tokens included.
        pad: The id of the padding token.
    """

    rows: npt.NDArray[np.int32]
    lengths: npt.NDArray[np.int64]
    pad: int


class Tokeniser:
    """A tokenizer.json in Hugging Face's format (extra: text).

    Args:
        file: The tokenizer.json.
        max_tokens: Longer texts are truncated to it, special tokens included.

    Raises:
        DataError: If the package `tokenizers` is not installed, or the file cannot be
            read or has no padding token.
    """

    def __init__(self, file: Path, max_tokens: int) -> None:
        self._tokenizer = _read_tokenizer_json(file)
        ids = [self._tokenizer.token_to_id(name) for name in _PADS]
        pads = [pad for pad in ids if pad is not None]
        if not pads:
            raise DataError(f"{file} has no padding token ({' or '.join(_PADS)})")
        self.pad: int = pads[0]
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(max_tokens)

    def __call__(self, texts: Sequence[str]) -> Tokens:
        """Tokenise at least one text."""
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
        end: The id of the token that ends a text.
    """

    def __init__(self, tokenizer: Tokenizer, end: int) -> None:
        self._tokenizer = tokenizer
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()
        self.end = end

    def encode_prompt(self, text: str) -> list[int]:
        """Token ids of the beginning of a text, with the model's start token."""
        ids: list[int] = self._tokenizer.encode(text).ids
        return ids

    def encode_continuation(self, text: str) -> list[int]:
        """Token ids of a text that follows another."""
        ids: list[int] = self._tokenizer.encode(text, add_special_tokens=False).ids
        return ids

    def decode(self, ids: Sequence[int]) -> str:
        """The text of token ids, without special tokens."""
        text: str = self._tokenizer.decode(list(ids))
        return text


def tokenizer_file(source: str) -> Path:
    """The file with a model's tokenizer: tokenizer.json, or its GGUF file.

    Raises:
        DataError: If the model or the file is missing.
    """
    path = model_path(source)
    return path if path.is_file() else model_file(source, TOKENIZER)


def read_language_tokenizer(source: str) -> LanguageTokenizer:
    """Read a model's tokenizer (see `mlpeft.models.pretrained.source`; extra: text).

    Raises:
        DataError: If it is missing or cannot be read, or no file says which token ends
            a text.
    """
    return read_tokenizer_file(tokenizer_file(source))


@cached_read(maxsize=4)
def read_tokenizer_file(file: Path) -> LanguageTokenizer:
    """Read a model's `tokenizer_file`.

    Raises:
        DataError: As `read_language_tokenizer`.
    """
    if file.name != TOKENIZER:
        _check_installed()
        from mlpeft.models.pretrained.gguf import read_gguf_tokenizer

        tokenizer, end = read_gguf_tokenizer(file)
    else:
        tokenizer = _read_tokenizer_json(file)
        end = _read_end(file.parent, tokenizer)
    if end is None:
        raise DataError(
            f"no file in {file.parent} says which token ends a text; set eos_token_id "
            "in its generation_config.json"
        )
    return LanguageTokenizer(tokenizer, end)


def _check_installed() -> None:
    try:
        import tokenizers  # noqa: F401 - is it installed?
    except ImportError as error:
        raise DataError(
            "text needs the package tokenizers; install it with: "
            "pip install 'mlpeft[text]'"
        ) from error


def _read_tokenizer_json(file: Path) -> Tokenizer:
    _check_installed()
    from tokenizers import Tokenizer

    with readable(file):
        return Tokenizer.from_file(str(file))


@contextmanager
def readable(file: Path) -> Iterator[None]:
    """Blame a file for whatever the package tokenizers raises while it reads it.

    It raises Exception itself, and a few damaged files make it panic.

    Raises:
        DataError: Naming the file.
    """
    try:
        yield
    except MlpeftError:
        raise
    except BaseException as error:
        if not isinstance(error, Exception) and type(error).__name__ != _PANIC:
            raise
        raise DataError(f"{file} cannot be read as a tokenizer: {error}") from error


def _read_end(folder: Path, tokenizer: Tokenizer) -> int | None:
    """The end-of-text token, from the first of the model's files that has one."""
    for name in _END_FILES:
        file = folder / name
        if not file.is_file():
            continue
        try:
            settings = parse_json_object(file.read_bytes())
        except ValueError as error:
            raise DataError(f"{file} is not valid JSON: {error}") from error
        end = settings.get("eos_token_id")
        if isinstance(end, list):
            end = end[0] if end else None
        token = settings.get("eos_token")
        if isinstance(token, dict):
            token = token.get("content")
        if end is None and isinstance(token, str):
            end = tokenizer.token_to_id(token)
        if end is not None and not isinstance(end, int):
            raise DataError(f"{file}: eos_token_id is {end!r}, expected a number")
        if end is not None:
            return end
    return None
