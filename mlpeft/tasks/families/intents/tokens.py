"""Tokenise labelled texts and the names of labels."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from mlpeft.file_caches import cached_read
from mlpeft.models.pretrained.tokenizers import Tokeniser
from mlpeft.tasks.families.intents.classes import read_classes

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np

    from mlpeft.models.pretrained.tokenizers import Tokens
    from mlpeft.tasks.families.intents.source import IntentSource

_BREAKS = re.compile(r"[\W_]+|(?<=[a-z])(?=[A-Z])")
_LETTER = re.compile(r"[^\W\d_]")


def label_text(label: str) -> str:
    """A label in words: `card_arrival`, `card-arrival`, `CardArrival` -> card arrival.

    Empty if the label has no letters, such as "17", and so says nothing.
    """
    if not _LETTER.search(label):
        return ""
    return " ".join(_BREAKS.sub(" ", label).lower().split())


def wordless(labels: list[str] | tuple[str, ...]) -> list[str]:
    """The labels without letters."""
    return [label for label in labels if not label_text(label)]


@cached_read(maxsize=4)
def token_pools(
    source: IntentSource, tokenizer: Path, max_tokens: int
) -> dict[str, dict[str, Tokens]]:
    """Tokenised texts by split and label."""
    tokenise = _tokeniser(tokenizer, max_tokens)
    return {
        split: {label: tokenise(texts) for label, texts in classes.items()}
        for split, classes in read_classes(source).splits.items()
    }


@cached_read(maxsize=4096)
def name_tokens(
    labels: tuple[str, ...], tokenizer: Path, max_tokens: int
) -> tuple[np.ndarray, ...]:
    """Token ids of the names of labels, in words."""
    tokens = _tokeniser(tokenizer, max_tokens)([label_text(label) for label in labels])
    return tuple(
        row[:length] for row, length in zip(tokens.rows, tokens.lengths, strict=True)
    )


@cached_read(maxsize=4)
def _tokeniser(tokenizer: Path, max_tokens: int) -> Tokeniser:
    return Tokeniser(tokenizer, max_tokens)
