"""What in labelled texts is allowed, but seldom meant."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from mlpeft.errors import counted

if TYPE_CHECKING:
    from collections.abc import Sequence

_SHOWN = 40
"""Characters of a text in a message."""


def doubts(texts: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Sentences about examples that are likely slips; none if there are none.

    Args:
        texts: The texts.
        rows: The labels of each.
    """
    return [*_spellings(rows), *_contradictions(texts, rows)]


def _spellings(rows: Sequence[Sequence[str]]) -> list[str]:
    """Labels that are the same but for case and white space."""
    spelt: dict[str, set[str]] = defaultdict(set)
    for row in rows:
        for label in row:
            spelt[_plain(label)].add(label)
    return [
        f"the labels {' and '.join(map(repr, sorted(labels)))} differ in case or white "
        "space alone, and count as different labels"
        for labels in spelt.values()
        if len(labels) > 1
    ]


def _contradictions(texts: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Texts that occur more than once, with other labels each time."""
    labels: dict[str, set[tuple[str, ...]]] = defaultdict(set)
    for text, row in zip(texts, rows, strict=True):
        labels[_plain(text)].add(tuple(sorted(row)))
    several = {text: found for text, found in labels.items() if len(found) > 1}
    if not several:
        return []
    text, found = next(iter(several.items()))
    names = " and ".join(repr(", ".join(row)) for row in sorted(found))
    shown = text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
    count = counted(len(several), "text")
    return [f"{count} with different labels, such as {shown!r} with {names}"]


def _plain(text: str) -> str:
    return " ".join(text.casefold().split())
