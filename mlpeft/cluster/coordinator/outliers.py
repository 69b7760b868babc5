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
honest update comes to count whatever the history (`norm_history`) holds.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from mlpeft.work import Displacement

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mlpeft.cluster.coordinator.norm_history import Limit
    from mlpeft.params import ParamTree
    from mlpeft.work import ShardUpdate

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
        self._norms: dict[int, dict[str, float]] = {}
        self._refused: dict[int, list[_Finding]] = {}

    def judge(
        self, update: ShardUpdate, attempt: int, identity: str, *, alone: bool
    ) -> Verdict:
        """Whether a training shard's update may count; remembers its norm.

        Args:
            update: What came; it has passed all other checks.
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
                finding = _FINDINGS[self._displacement]
                return Verdict(self._limit.reject_reason(finding, norm))
        self._norms.setdefault(update.index, {})[identity] = norm
        return Verdict(confirmed=confirmed)

    def norms(self, counted_for: Mapping[int, str]) -> list[tuple[str, float]]:
        """Identities and norms of updates that counted, in the shards' order.

        Args:
            counted_for: The identity whose update counted, by shard.
        """
        return [
            (counted_for[index], self._norms[index][counted_for[index]])
            for index in sorted(self._norms)
        ]
