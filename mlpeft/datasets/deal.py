"""Names dealt to train, val and test: the same on every machine."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

SPLITS = ("train", "val", "test")
CUTS = (0.0, 0.6, 0.8, 1.0)
"""Where the shares of train, val and test begin and end."""


def deal(names: Iterable[str]) -> dict[str, list[str]]:
    """Cut names 3 : 1 : 1 in the order of their SHA-256; each share is sorted.

    A share of few names may be empty, and is left out then.
    """
    ordered = sorted(names, key=lambda name: hashlib.sha256(name.encode()).digest())
    cuts = [round(cut * len(ordered)) for cut in CUTS]
    return {
        split: sorted(ordered[start:stop])
        for split, start, stop in zip(SPLITS, cuts, cuts[1:], strict=False)
        if stop > start
    }
