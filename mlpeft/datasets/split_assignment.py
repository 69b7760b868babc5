"""Assign names to train, val and test, equally on every machine."""

from __future__ import annotations

import hashlib
from itertools import accumulate
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

SPLITS = ("train", "val", "test")
SHARES = (0.6, 0.2, 0.2)
"""Default shares of train, val and test."""


def assign_splits(
    names: Iterable[str], shares: Sequence[float] = SHARES, order: str = ""
) -> dict[str, list[str]]:
    """Order names by their SHA-256, cut them into splits, and sort each split.

    With few names a split may be empty; it is then omitted.

    Args:
        names: Distinct names.
        shares: Relative sizes of train, val and test.
        order: A salt in front of the names; each salt gives another order.
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
