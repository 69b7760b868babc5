"""From the totals of a round to one tree: the mean, or a rule that few bad ones move.

The robust rules work number by number on the means of shards: a few shards that lie
move them no further than to where honest ones are. They need means that can be
compared, of shards of equal size: one task each unless `compute.shard_size` says
otherwise. To the mean a shard is only a way of summing.

All of it is NumPy in float32. The mean's sum is a `params.OrderedSum`, and the robust
rules sort by value, so the order of arrival leaves no trace.

References:
    Yin, Chen, Ramchandran and Bartlett, "Byzantine-Robust Distributed Learning: Towards
    Optimal Statistical Rates", ICML 2018, arXiv 1803.01498: definitions 1
    (coordinate-wise median) and 2 (coordinate-wise trimmed mean).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np

from mlpeft.config import MetaLearningSection
from mlpeft.config.aggregation import trimmed
from mlpeft.rounds import SeparateTotals, SummedTotals

if TYPE_CHECKING:
    from mlpeft.params import Array, NumpyTree
    from mlpeft.rounds import Totals

Rule: TypeAlias = Literal["mean", "trimmed_mean", "coordinate_median"]

_DEFAULTS = MetaLearningSection()


def combine(
    totals: Totals, rule: Rule = "mean", trim_fraction: float = _DEFAULTS.trim_fraction
) -> NumpyTree:
    """One tree from the totals of all shards.

    mean: `sum_shards(total) / sum_shards(count)`, so each task weighs the same.
    coordinate_median, trimmed_mean: of the shards' `total / count`, for each number by
    itself; trimmed_mean leaves out the `floor(trim_fraction * shards)` smallest and as
    many largest.

    Args:
        totals: Of the round's shards: summed for the mean, separate for other rules;
            float32 leaves.
        rule: What to compute.
        trim_fraction: Share that trimmed_mean leaves out at each end, below 0.5.

    Raises:
        ValueError: If there are no tasks, or the totals do not suit the rule.
    """
    if totals.count == 0:
        raise ValueError("no tasks to average: a round needs at least one shard update")
    match rule, totals:
        case "mean", SummedTotals(total, count):
            return {name: leaf / np.float32(count) for name, leaf in total.items()}
        case "trimmed_mean", SeparateTotals(trees):
            cut = trimmed(len(trees), trim_fraction)
            return _by_value(totals, cut, len(trees) - cut)
        case "coordinate_median", SeparateTotals(trees):
            return _by_value(totals, (len(trees) - 1) // 2, len(trees) // 2 + 1)
        case _:
            raise ValueError(
                f"{rule} cannot use {type(totals).__name__}: the mean needs "
                "SummedTotals, other rules SeparateTotals"
            )


def _by_value(separate: SeparateTotals, first: int, end: int) -> NumpyTree:
    """Means of the values from place `first` to before `end`, sorted by value."""

    def kept(name: str) -> Array:
        means = [
            total[name] / np.float32(count)
            for total, count in zip(separate.totals, separate.counts, strict=True)
        ]
        ranked = np.sort(np.stack(means), axis=0)[first:end]
        return np.add.reduce(ranked, axis=0) / np.float32(end - first)

    return {name: kept(name) for name in sorted(separate.totals[0])}
