"""From the updates of a round to one tree: the mean, or a rule that few bad ones move.

The robust rules work number by number on the means of shards: a few shards that lie
move them no further than to where honest ones are. They need means that can be
compared, of shards of equal size: one task each unless `compute.shard_size` says
otherwise. To the mean a shard is only a way of summing.

All of it is NumPy in float32. Shards are taken in the order of their index, and the
robust rules sort by value, so the order of arrival leaves no trace.

References:
    Yin, Chen, Ramchandran and Bartlett, "Byzantine-Robust Distributed Learning: Towards
    Optimal Statistical Rates", ICML 2018, arXiv 1803.01498: definitions 1
    (coordinate-wise median) and 2 (coordinate-wise trimmed mean).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np

from mlpeft import params
from mlpeft.config.aggregation import trimmed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mlpeft.params import Array, ParamTree
    from mlpeft.work import ShardUpdate

Rule: TypeAlias = Literal["mean", "trimmed_mean", "coordinate_median"]


def combine(
    updates: Sequence[ShardUpdate], rule: Rule = "mean", trim_fraction: float = 0.25
) -> ParamTree:
    """One tree from the updates of all shards.

    mean: `sum_shards(total) / sum_shards(count)`, so each task weighs the same.
    coordinate_median, trimmed_mean: of the shards' `total / count`, for each number by
    itself; trimmed_mean leaves out the `floor(trim_fraction * shards)` smallest and as
    many largest.

    Args:
        updates: Every shard of the round, in any order; float32 leaves.
        rule: What to compute.
        trim_fraction: Share that trimmed_mean leaves out at each end, below 0.5.

    Raises:
        ValueError: If there are no updates, or no tasks in them.
    """
    ordered = sorted(updates, key=lambda update: update.index)
    if sum(update.count for update in ordered) == 0:
        raise ValueError("no tasks to average: a round needs at least one shard update")
    match rule:
        case "mean":
            return _mean(ordered)
        case "trimmed_mean":
            cut = trimmed(len(ordered), trim_fraction)
            return _by_value(ordered, cut, len(ordered) - cut)
        case "coordinate_median":
            return _by_value(ordered, (len(ordered) - 1) // 2, len(ordered) // 2 + 1)


def _mean(ordered: Sequence[ShardUpdate]) -> ParamTree:
    total = dict(ordered[0].total)
    for update in ordered[1:]:
        if update.total:  # else it is in the first one's: they came summed
            total = params.add(total, update.total)
    divisor = np.float32(sum(update.count for update in ordered))
    return {name: leaf / divisor for name, leaf in total.items()}


def _by_value(ordered: Sequence[ShardUpdate], first: int, end: int) -> ParamTree:
    """Means of the values from place `first` to before `end`, sorted by value."""

    def kept(name: str) -> Array:
        means = [update.total[name] / np.float32(update.count) for update in ordered]
        ranked = np.sort(np.stack(means), axis=0)[first:end]
        return np.add.reduce(ranked, axis=0) / np.float32(end - first)

    return {name: kept(name) for name in sorted(ordered[0].total)}
