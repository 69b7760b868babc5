"""Names of labels as texts: "card_arrival" says what an example of it would."""

from __future__ import annotations

import re

_BREAKS = re.compile(r"[\W_]+|(?<=[a-z])(?=[A-Z])")
_LETTER = re.compile(r"[^\W\d_]")


def label_text(label: str) -> str:
    """A label in words: `card_arrival`, `card-arrival`, `CardArrival` -> card arrival.

    Empty if the label has no letter, as "17" has none: it says nothing.
    """
    if not _LETTER.search(label):
        return ""
    return " ".join(_BREAKS.sub(" ", label).lower().split())


def wordless(labels: list[str] | tuple[str, ...]) -> list[str]:
    """Those labels whose names say nothing."""
    return [label for label in labels if not label_text(label)]
