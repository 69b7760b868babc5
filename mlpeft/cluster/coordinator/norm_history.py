"""What is usual: norms of the updates that counted, balanced over identities.

A worker that returns theta unchanged is the fastest of all and gets most shards. If
each norm weighed the same, it would set the median by itself, and honest updates would
be outliers. So each identity has an equal share of the window, whoever sent more.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass
from itertools import islice
from statistics import median
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

WINDOW = 100
"""Newest norms that an update is held against."""
LEAST_NORMS = 20
"""Fewer say too little about what is usual."""
LEAST_SPREAD = 0.1
"""Spread, in medians, that is granted where all norms are nearly the same."""
MOST_IDENTITIES = 50
"""Identities that are remembered: those heard of last."""
EARLY_FACTOR = 1e3
"""Sizes of theta that an update may move it while too few norms are known."""


@dataclass(frozen=True, slots=True)
class Limit:
    """The largest norm that counts without a second opinion.

    Attributes:
        norm: `median + factor * max(MAD, LEAST_SPREAD * median)`; while too few norms
            are known, `EARLY_FACTOR * (1 + ||theta||)`.
        median: Of the norms that it was made from.
        norms: How many these are; 0: too few.
    """

    norm: float
    median: float = 0.0
    norms: int = 0

    @classmethod
    def early(cls, theta_norm: float) -> Self:
        """The limit while too few norms are known."""
        return cls(EARLY_FACTOR * (1.0 + theta_norm))

    def reject_reason(self, finding: str, norm: float) -> str:
        """Why a norm beyond the limit needs a second opinion.

        Args:
            finding: What the update does, before the norm.
            norm: Of the update.
        """
        usual = (
            f"the median of the last {self.norms} that counted is {self.median:.3g}"
            if self.norms
            else "little is known yet of what is usual"
        )
        return (
            f"it {finding} {norm:.3g}; {usual}, and beyond {self.norm:.3g} a second "
            "worker must find the same. If many tasks are so unlike each other, raise "
            "cluster.norm_factor"
        )


class NormHistory:
    """Norms of the updates that counted, by identity, newest last."""

    def __init__(self) -> None:
        self._norms: dict[str, deque[float]] = {}  # heard of last: last

    def add(self, norms: Iterable[tuple[str, float]]) -> None:
        """Identities and norms of a closed round, in the order of its shards.

        Closed rounds only: what an update is held against then depends on no order of
        arrival.
        """
        for identity, norm in norms:
            newest = self._norms.pop(identity, None) or deque(maxlen=WINDOW)
            newest.append(norm)
            self._norms[identity] = newest
        while len(self._norms) > MOST_IDENTITIES:
            del self._norms[next(iter(self._norms))]

    def limit(self, factor: float) -> Limit | None:
        """The limit of the next round; None: too few norms yet.

        Args:
            factor: Spreads above the median that are usual.
        """
        share = math.ceil(WINDOW / max(1, len(self._norms)))
        norms = [
            norm
            for newest in self._norms.values()
            for norm in islice(reversed(newest), share)
        ]
        if len(norms) < LEAST_NORMS:
            return None
        middle = median(norms)
        deviation = median([abs(norm - middle) for norm in norms])
        spread = max(deviation, LEAST_SPREAD * middle)
        return Limit(middle + factor * spread, middle, len(norms))

    def to_dict(self) -> dict[str, list[float]]:
        """Plain values for JSON."""
        return {identity: list(norms) for identity, norms in self._norms.items()}

    def restore(self, tree: Mapping[str, Any]) -> None:
        """Take in what `to_dict` gave in an earlier session.

        Raises:
            ValueError: If it is something else.
        """
        for identity, norms in tree.items():
            if not isinstance(norms, list) or not all(
                isinstance(norm, float) and 0 <= norm < math.inf for norm in norms
            ):
                raise ValueError(f"the norms of {identity[:40]!r} are no list of norms")
        self.add((identity, norm) for identity in tree for norm in tree[identity])
