"""Updates that would move theta much further than others do.

A worker that computes finite nonsense (bad memory, a broken kernel, malice) passes
every other check. How far an update would move theta is one number that tells: the
Euclidean norm of its mean displacement, held against the median of those that counted
in rounds before, with their median absolute deviation (MAD) as the measure of spread
(Hampel, "The Influence Curve and Its Role in Robust Estimation", 1974). A few bad
values move neither. What the displacement is the algorithm says
(`mlpeft.work.Displacement`).

Honest tasks may be unusual, too. So an outlier is not dropped but computed again, and
counts when somebody else finds the same. That is why the check decides no bits: an
honest update comes to count whatever the history holds. So the history may differ with
the time at which the coordinator was started, and is not saved.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from mlpeft.work import Displacement

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mlpeft.params import ParamTree
    from mlpeft.work import ShardUpdate

WINDOW = 100
"""Newest norms that an update is held against."""
LEAST_NORMS = 20
"""Fewer say too little about what is usual."""
LEAST_SPREAD = 0.1
"""Spread, in medians, that is granted where all norms are nearly the same."""
AGREEMENT = 0.01
"""Relative difference of two norms that still count as the same finding. Machines that
are alike find the same bits; others differ in rounding."""
_BLOCK = 1 << 16
_FINDINGS = {
    Displacement.FROM_THETA: "would move theta by",
    Displacement.AS_IT_IS: "has a gradient of norm",
}
"""What the log says of an update, before the norm."""


def displacement_norm(
    update: ShardUpdate, theta: ParamTree, displacement: Displacement
) -> float:
    """`|| total / count - theta ||_2`, or `|| total / count ||_2` of a gradient.

    Args:
        update: A training shard's update that has the leaves of `theta`, and perhaps
            others, which are not looked at.
        theta: What it started from, NumPy float32.
        displacement: Which of the two.
    """
    from_theta = displacement is Displacement.FROM_THETA
    share = np.float32(1.0 / update.count)
    room = np.empty(_BLOCK, dtype=np.float32)
    squares = 0.0
    with np.errstate(over="ignore"):
        for name in sorted(theta):
            total, start = update.total[name].reshape(-1), theta[name].reshape(-1)
            for first in range(0, total.size, _BLOCK):  # a block stays in the cache
                part = room[: min(_BLOCK, total.size - first)]
                np.multiply(total[first : first + _BLOCK], share, out=part)
                if from_theta:
                    np.subtract(part, start[first : first + _BLOCK], out=part)
                squares += float(np.dot(part, part))
    return float(np.sqrt(squares))


@dataclass(frozen=True, slots=True)
class Limit:
    """The largest norm that counts without a second opinion.

    Attributes:
        norm: `median + factor * max(MAD, LEAST_SPREAD * median)`.
        median: Of the norms that it was made from.
        norms: How many these are.
    """

    norm: float
    median: float
    norms: int

    def reject_reason(self, norm: float, displacement: Displacement) -> str:
        """Why a norm beyond the limit needs a second opinion."""
        return (
            f"it {_FINDINGS[displacement]} {norm:.3g}; the median of the last "
            f"{self.norms} that counted is {self.median:.3g}, and beyond "
            f"{self.norm:.3g} a second worker must find the same. If many tasks are so "
            "unlike each other, raise cluster.norm_factor"
        )


class NormHistory:
    """Norms of the updates that counted, newest last."""

    def __init__(self) -> None:
        self._norms: deque[float] = deque(maxlen=WINDOW)

    def add(self, norms: Iterable[float]) -> None:
        """Norms of a closed round, in the order of its shards.

        Closed rounds only: what an update is held against then depends on no order of
        arrival.
        """
        self._norms.extend(norms)

    def limit(self, factor: float) -> Limit | None:
        """The limit of the next round; None: too few norms yet.

        Args:
            factor: Spreads above the median that are usual.
        """
        if len(self._norms) < LEAST_NORMS:
            return None
        middle = median(self._norms)
        deviation = median(abs(norm - middle) for norm in self._norms)
        spread = max(deviation, LEAST_SPREAD * middle)
        return Limit(middle + factor * spread, middle, len(self._norms))


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is to become of an update.

    Attributes:
        reject_reason: Why it may not count yet; None: it counts.
        confirmed: Identities whose refused update of this shard was right.
    """

    reject_reason: str | None = None
    confirmed: tuple[str, ...] = ()


class _Finding(NamedTuple):
    """An outlier that was refused."""

    attempt: int
    identity: str
    norm: float


class OutlierCheck:
    """Norms of one round.

    Args:
        limit: The largest norm that counts without a second opinion; None: any does.
        theta: What the round starts from.
        displacement: What the run's algorithm takes from a shard.
    """

    def __init__(
        self, limit: Limit | None, theta: ParamTree, displacement: Displacement
    ) -> None:
        self._limit = limit
        self._theta = theta
        self._displacement = displacement
        self._norms: dict[int, float] = {}
        self._refused: dict[int, list[_Finding]] = {}

    def judge(
        self, update: ShardUpdate, attempt: int, identity: str, *, alone: bool
    ) -> Verdict:
        """Whether a training shard's update may count; remembers its norm.

        Args:
            update: What came; it has passed the rest of the gate.
            attempt: Which attempt at the shard: a message that comes twice is none of
                its own.
            identity: Whose worker sent it.
            alone: Whether there is nobody else to ask; then the same identity finding
                the same twice is enough.
        """
        norm = displacement_norm(update, self._theta, self._displacement)
        confirmed: tuple[str, ...] = ()
        if self._limit is not None and not norm <= self._limit.norm:
            earlier = self._refused.setdefault(update.index, [])
            confirmed = tuple(
                other.identity
                for other in earlier
                if abs(norm - other.norm) <= AGREEMENT * max(norm, other.norm)
                and attempt != other.attempt
                and (alone or identity != other.identity)
            )
            if not confirmed:
                earlier.append(_Finding(attempt, identity, norm))
                return Verdict(self._limit.reject_reason(norm, self._displacement))
        self._norms[update.index] = norm
        return Verdict(confirmed=confirmed)

    def norms(self) -> list[float]:
        """Norms of the updates that counted, in the order of their shards."""
        return [self._norms[index] for index in sorted(self._norms)]
