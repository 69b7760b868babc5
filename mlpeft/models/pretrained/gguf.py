"""GGUF files: weights, metadata, and the tokenizer in the metadata.

The format is ggml's (its docs/gguf.md). MLX reads Q4_0, Q4_1 and Q8_0 tensors as its
quantised triples NAME.weight, NAME.scales, NAME.biases with groups of 32, and other
types as float16.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import mlx.core as mx

from mlpeft.errors import DataError
from mlpeft.file_caches import cached_read
from mlpeft.models.pretrained.gguf_header import check_header
from mlpeft.models.pretrained.tokenizers import readable

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from tokenizers import Tokenizer

GROUP_SIZE = 32
"""Weights that share a scale, in every ggml type that MLX keeps quantised."""
_CONTROL = 3
_USER_DEFINED = 4
"""Token types whose text is never split."""
_SPLIT_DIGITS = ("smollm", "refact", "starcoder", "command-r")
"""Values of tokenizer.ggml.pre that split numbers into digits, else as GPT-2 does."""
_LIKE_GPT2 = ("gpt-2", "default", "")


@dataclass(frozen=True, slots=True, eq=False)
class Gguf:
    """The contents of a GGUF file.

    Attributes:
        path: The file.
        weights: Tensors by ggml's names.
        metadata: Values by key: Python numbers, strings and lists of them.
    """

    path: Path
    weights: dict[str, mx.array]
    metadata: dict[str, Any]

    def value(self, key: str) -> Any:
        """A value of the metadata.

        Raises:
            DataError: If it is missing.
        """
        if key not in self.metadata:
            raise DataError(f"{self.path} has no {key}; it is not a complete model")
        return self.metadata[key]


def read_gguf(path: Path) -> Gguf:
    """Read a GGUF file.

    Raises:
        DataError: If it cannot be read.
    """
    try:
        check_header(path)
        contents: Any = mx.load(str(path), return_metadata=True)
    except (OSError, RuntimeError, ValueError) as error:
        raise DataError(f"{path} cannot be read as GGUF: {error}") from error
    weights, metadata = contents
    return Gguf(path, weights, {key: _to_python(metadata[key]) for key in metadata})


@cached_read(maxsize=4)
def read_gguf_tokenizer(path: Path) -> tuple[Tokenizer, int | None]:
    """Read the file's tokenizer and the id of its end-of-text token.

    Raises:
        DataError: If it is not a byte-level BPE, or of an unsupported kind.
    """
    gguf = read_gguf(path)
    return gguf_tokenizer(gguf), gguf.metadata.get("tokenizer.ggml.eos_token_id")


def gguf_tokenizer(gguf: Gguf) -> Tokenizer:
    """Build the tokenizer that a file's metadata describes.

    Raises:
        DataError: As `read_gguf_tokenizer`.
    """
    with readable(gguf.path):
        return _build_byte_level_bpe(gguf)


def _build_byte_level_bpe(gguf: Gguf) -> Tokenizer:
    from tokenizers import (
        AddedToken,
        Tokenizer,
        decoders,
        models,
        pre_tokenizers,
        processors,
    )

    kind = gguf.value("tokenizer.ggml.model")
    split = gguf.metadata.get("tokenizer.ggml.pre", "")
    if kind != "gpt2" or split not in _SPLIT_DIGITS + _LIKE_GPT2:
        raise DataError(
            f"{gguf.path} has a tokenizer of kind {kind!r}, {split!r}; from GGUF only "
            "byte-level BPE that splits text as GPT-2 or SmolLM does is supported: use "
            "the model's Hugging Face folder"
        )
    texts: list[str] = gguf.value("tokenizer.ggml.tokens")
    merges = [tuple(pair.split(" ", 1)) for pair in gguf.value("tokenizer.ggml.merges")]
    vocabulary = {text: number for number, text in enumerate(texts)}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=merges))
    steps: list[Any] = [pre_tokenizers.ByteLevel(add_prefix_space=False)]
    if split in _SPLIT_DIGITS:
        steps.insert(0, pre_tokenizers.Digits(individual_digits=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(steps)
    tokenizer.decoder = decoders.ByteLevel()
    types: list[int] = gguf.value("tokenizer.ggml.token_type")
    for token_type, special in ((_CONTROL, True), (_USER_DEFINED, False)):
        tokenizer.add_tokens(
            [
                AddedToken(text, special=special, normalized=False)
                for text, text_type in zip(texts, types, strict=True)
                if text_type == token_type
            ]
        )
    if gguf.metadata.get("tokenizer.ggml.add_bos_token", False):
        start = gguf.value("tokenizer.ggml.bos_token_id")
        tokenizer.post_processor = processors.TemplateProcessing(
            single=f"{texts[start]} $A", special_tokens=[(texts[start], start)]
        )
    return tokenizer


def _to_python(value: Any) -> Any:
    """A number for a scalar array, a list for any other."""
    if not isinstance(value, mx.array):
        return value
    return value.item() if value.size == 1 and value.ndim == 0 else value.tolist()


def quantised_bits(weights: Mapping[str, mx.array], name: str) -> int | None:
    """Bits of a weight quantised in groups of 32; None if it is not quantised."""
    scales = weights.get(f"{name}.scales")
    if scales is None:
        return None
    packed = weights[f"{name}.weight"].shape[-1]
    return int(32 * packed // (scales.shape[-1] * GROUP_SIZE))
