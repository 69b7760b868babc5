"""The gate: nothing bad gets into theta.

An update counts only if it is for the round, version and shard that were leased, came
through the wire whole, has exactly the expected leaves, and every number in it is
finite. Whoever calls the gate has already matched the lease; the gate looks at what is
in the update.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mlpeft.errors import ParamMismatch
from mlpeft.params import check_schema
from mlpeft.work import Kind

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mlpeft.params import Array, Schema
    from mlpeft.work import Shard, ShardUpdate


def refusal(shard: Shard, schema: Schema, update: ShardUpdate) -> str | None:
    """Why an update may not count, or None if it may.

    Args:
        shard: What was leased.
        schema: Leaves that the sum of a training shard must have, with shapes and
            dtypes; validation and test shards must have none.
        update: What came back.
    """
    if update.index != shard.index:
        return f"it is for shard {update.index}, expected {shard.index}"
    if update.count != len(shard.tasks):
        return f"it counts {update.count} tasks, expected {len(shard.tasks)}"
    try:
        check_schema(
            schema if shard.kind is Kind.TRAIN else {}, update.total, "its sum"
        )
    except ParamMismatch as error:
        return str(error)
    return (
        _per_task_refusal(update)
        or _not_finite("its sum", update.total)
        or _not_finite("its per-task results", update.per_task)
    )


def _per_task_refusal(update: ShardUpdate) -> str | None:
    """What is wrong with the shape or dtype of the per-task results."""
    for name in sorted(update.per_task):
        leaf = np.asarray(update.per_task[name])
        if leaf.ndim < 1 or leaf.shape[0] != update.count:
            return (
                f"per-task result {name!r} has shape {leaf.shape}, expected "
                f"{update.count} along its first axis"
            )
        if leaf.dtype.kind not in "fiu":
            return f"per-task result {name!r} is {leaf.dtype}, expected numbers"
    return None


def _not_finite(what: str, tree: Mapping[str, Array]) -> str | None:
    """Name the first leaf with a NaN or an infinity, and how many it has."""
    for name in sorted(tree):
        leaf = np.asarray(tree[name])
        if leaf.dtype.kind != "f" or _all_finite(leaf):
            continue
        bad = int(leaf.size - np.count_nonzero(np.isfinite(leaf)))
        return (
            f"{what} has {bad} values of {leaf.size} in leaf {name!r} that are NaN or "
            "infinite; if this happens on every worker the inner loop diverges: lower "
            "meta_learning.inner_lr"
        )
    return None


def _all_finite(leaf: np.ndarray[tuple[int, ...], np.dtype[np.floating]]) -> bool:
    """Whether all values are finite, without a mask in the common case.

    A NaN or an infinity makes the sum of squares not finite, and that needs no
    temporary array. Large finite values may overflow it too: only then look at each.
    """
    flat = leaf.reshape(-1)
    with np.errstate(over="ignore", invalid="ignore"):
        if np.isfinite(np.dot(flat, flat)):
            return True
    return bool(np.isfinite(flat).all())
