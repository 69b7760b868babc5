"""Labelled texts of the user's own: read, and without copies.

A text that a label has twice would let a query be one of its own supports, so only the
first is kept; texts that differ in case and white space alone count as one. A text
that several labels have is kept in each: which of them is right the owner must know.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mlpeft.datasets.pairs import read_pairs

if TYPE_CHECKING:
    from pathlib import Path

    from mlpeft.datasets.pairs import Keys

TEXT_KEYS = ("text", "label")


@dataclass(frozen=True, slots=True)
class LabelledTexts:
    """The texts of a file.

    Attributes:
        texts: By label, in the order of the labels' names, and then of the file.
        copies: How many further copies of texts within a label were left out.
        shared: Texts that several labels have.
    """

    texts: dict[str, list[str]]
    copies: int = 0
    shared: tuple[str, ...] = ()

    @property
    def about(self) -> str:
        """How many there are of what, for people."""
        sizes = {label: len(some) for label, some in self.texts.items()}
        least, most = min(sizes, key=sizes.__getitem__), max(sizes.values())
        texts = f"{sum(sizes.values()):,} texts of {len(sizes)} labels"
        told = [f"{texts}, {sizes[least]} ({least!r}) to {most} each"]
        if self.copies:
            told.append(f"copies of texts left out: {self.copies}")
        if self.shared:
            told.append(
                f"texts with several labels: {len(self.shared)}, such as "
                f"{self.shared[0]!r}"
            )
        return "; ".join(told)


def read_labelled(
    path: Path, keys: Keys = TEXT_KEYS, remedy: str = ""
) -> LabelledTexts:
    """The labelled texts of a file.

    Args:
        path: As for `mlpeft.datasets.pairs.read_pairs`.
        keys: The keys or columns of text and label.
        remedy: As for `read_pairs`.

    Raises:
        DataError: If there is no such file, or a line is not an example.
    """
    texts: dict[str, list[str]] = {}
    labels_of: dict[str, dict[str, str]] = {}
    copies = 0
    for text, label in read_pairs(path, keys, remedy):
        labels = labels_of.setdefault(" ".join(text.casefold().split()), {})
        if label in labels:
            copies += 1
            continue
        labels[label] = text
        texts.setdefault(label, []).append(text)
    shared = [next(iter(one.values())) for one in labels_of.values() if len(one) > 1]
    return LabelledTexts(
        {label: texts[label] for label in sorted(texts)}, copies, tuple(shared)
    )
