"""Names dealt to train, val and test: the same on every machine."""

from __future__ import annotations

import hashlib
from itertools import accumulate
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

SPLITS = ("train", "val", "test")
SHARES = (0.6, 0.2, 0.2)
"""Of train, val and test, unless something else is asked for."""


def assign_splits(
    names: Iterable[str], shares: Sequence[float] = SHARES, order: str = ""
) -> dict[str, list[str]]:
    """Cut names in the order of their SHA-256; each share is sorted.

    A share of few names may be empty, and is left out then.

    Args:
        names: Each once.
        shares: How much of the names train, val and test get; only their ratios count.
        order: Each text gives another order; it goes before the names.
    """
    salt = f"{order}\0" if order else ""
    ordered = sorted(
        names, key=lambda name: hashlib.sha256(f"{salt}{name}".encode()).digest()
    )
    ends = list(accumulate(shares))
    cuts = [0, *(round(end / ends[-1] * len(ordered)) for end in ends)]
    return {
        split: sorted(ordered[start:stop])
        for split, start, stop in zip(SPLITS, cuts, cuts[1:], strict=False)
        if stop > start
    }
