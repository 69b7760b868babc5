"""What is accepted: updates of the right form, workers with the same code and data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from packaging.version import InvalidVersion, Version

from mlpeft.errors import ParamMismatch
from mlpeft.params import check_schema
from mlpeft.work import Kind

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mlpeft.params import Array, Schema
    from mlpeft.work import Shard, ShardUpdate


def reject_reason(shard: Shard, schema: Schema, update: ShardUpdate) -> str | None:
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


@dataclass(frozen=True, slots=True)
class Versions:
    """What must be equal on both sides.

    Attributes:
        protocol: The contract of the wire.
        mlpeft: Release of mlpeft.
        mlx: Release of MLX; another may compute other bits.
    """

    protocol: int
    mlpeft: str
    mlx: str


def version_refusal(ours: Versions, theirs: Versions) -> str | None:
    """Why a worker of these versions may not join and what mends it, or None.

    Args:
        ours: The coordinator's.
        theirs: The worker's.
    """
    pairs = [
        ("cluster protocol", theirs.protocol, ours.protocol),
        ("mlpeft", theirs.mlpeft, ours.mlpeft),
        ("MLX", theirs.mlx, ours.mlx),
    ]
    different = [
        f"{what} {their or 'unknown'} on the worker, {our} on the coordinator"
        for what, their, our in pairs
        if their != our
    ]
    if not different:
        return None
    refusal = (
        f"versions differ: {'; '.join(different)}. To take part, run on the worker: "
        f"{_install(ours)}"
    )
    if _is_newer(theirs, ours):
        refusal += (
            f"; or, to keep the newer, on the coordinator: {_install(theirs)} and "
            "start it again with --resume, and likewise on all other workers"
        )
    return refusal


def _install(versions: Versions) -> str:
    return f"pip install 'mlpeft=={versions.mlpeft}' 'mlx[cpu]=={versions.mlx}'"


def _is_newer(theirs: Versions, ours: Versions) -> bool:
    """Whether a part of theirs is newer than ours and none is older."""
    try:
        our = Version(ours.mlpeft), Version(ours.mlx)
        their = Version(theirs.mlpeft), Version(theirs.mlx)
    except InvalidVersion:
        return False
    return their != our and their[0] >= our[0] and their[1] >= our[1]


def view_refusal(ours: str, theirs: str) -> str | None:
    """Why a worker with this fingerprint of the run may not join, or None."""
    if ours == theirs:
        return None
    return (
        "this worker sees the run differently from the coordinator (fingerprint "
        f"{theirs[:12] or 'none'}, expected {ours[:12]}): what an installed package "
        "or a module of yours brings is another version. Compare `mlpeft data verify` "
        "and your own modules on both machines"
    )
