"""Check that a robust aggregation rule makes sense for a run's shards."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mlpeft.config.learning import MetaLearningSection

LEAST_SHARDS = 3
"""With two values the median is the mean, and trimming removes both."""


def trimmed(shards: int, trim_fraction: float) -> int:
    """How many values a trimmed mean over `shards` values drops at each end."""
    return math.floor(shards * trim_fraction + 1e-9)  # 0.29 * 100 is less than 29


def most_share(meta: MetaLearningSection) -> float:
    """Largest share of a round's shards that the rule outvotes; 1: it outvotes none."""
    match meta.aggregation:
        case "coordinate_median":
            return 0.5 - 1e-9  # less than half
        case "trimmed_mean":
            return meta.trim_fraction + 1e-9
        case _:
            return 1.0


def problem(meta: MetaLearningSection, shard_size: int) -> str | None:
    """What is wrong with the rule for shards of `shard_size` tasks; None: nothing."""
    if meta.aggregation == "mean":
        return None
    tasks = meta.meta_batch_size
    rule = f"meta_learning.aggregation: {meta.aggregation}"
    if tasks % shard_size:
        return (
            f"{rule} needs shards of equal size, and compute.shard_size {shard_size} "
            f"does not divide meta_learning.meta_batch_size {tasks}; set it to 1"
        )
    shards = tasks // shard_size
    if shards < LEAST_SHARDS:
        return (
            f"{rule} needs {LEAST_SHARDS} shards or more, but {tasks} tasks in shards "
            f"of {shard_size} make {shards}; raise meta_learning.meta_batch_size or "
            "lower compute.shard_size"
        )
    if meta.aggregation == "trimmed_mean" and not trimmed(shards, meta.trim_fraction):
        least = math.ceil(1000 / shards) / 1000
        return (
            f"meta_learning.trim_fraction: {meta.trim_fraction:g} of {shards} shards "
            f"is less than one, so none would be dropped; set it to {least:g} or more"
        )
    return None
