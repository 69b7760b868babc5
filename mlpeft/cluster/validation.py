"""What is accepted: updates of the right form, workers with the same code and data."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from packaging.version import InvalidVersion, Version

from mlpeft.errors import ParamMismatch
from mlpeft.params import check_schema
from mlpeft.work import MOST_VALUE, Kind

if TYPE_CHECKING:
    from mlpeft.params import ParamTree, Schema
    from mlpeft.work import ResultSchema, Shard, ShardUpdate

NAME_SHOWN = 80
"""Characters of a name from the network that a refusal shows."""


def reject_reason(
    shard: Shard, schema: Schema, results: ResultSchema, update: ShardUpdate
) -> str | None:
    """Why an update may not count, or None if it may.

    What passes can be summed, averaged and compared without an error or an overflow.

    Args:
        shard: What was leased.
        schema: Leaves that the sum of a training shard must have, with shapes and
            dtypes; validation and test shards must have none.
        results: The per-task results that a shard must have.
        update: What came back.
    """
    if update.index != shard.index:
        return f"it is for shard {update.index}, expected {shard.index}"
    count = len(shard.tasks)
    if update.count != count:
        return f"it counts {update.count} tasks, expected {count}"
    leaves = results.of(shard.kind)
    numbers = {name: ((count, *leaf.shape), "float32") for name, leaf in leaves.items()}
    refusal = _schema_refusal(
        "its sum", schema if shard.kind is Kind.TRAIN else {}, update.total
    ) or _schema_refusal("its per-task results", numbers, update.per_task)
    if refusal is not None:
        return refusal
    most = count * MOST_VALUE
    with np.errstate(over="ignore", invalid="ignore"):  # entered once: it takes 2 us
        for name, leaf in leaves.items():
            bounds = leaf.least, leaf.most
            refusal = _range_refusal(
                "its per-task results", name, update.per_task, bounds
            )
            if refusal is not None:
                return refusal
        for name in sorted(update.total):
            refusal = _range_refusal("its sum", name, update.total, (-most, most))
            if refusal is not None:
                return refusal
    return None


def _schema_refusal(what: str, expected: Schema, tree: ParamTree) -> str | None:
    """The first leaf that is missing, not expected, or of another shape or dtype."""
    if expected.keys() != tree.keys():
        missing = sorted(expected.keys() - tree.keys())
        if missing:
            return f"{what}: leaf {missing[0]!r} is missing"
        # `check_schema` would look for the nearest of ours: long, for a name as sent.
        unexpected = min(tree.keys() - expected.keys())
        return f"{what}: leaf {unexpected[:NAME_SHOWN]!r} is not expected"
    try:
        check_schema(expected, tree, what)
    except ParamMismatch as error:
        return str(error)
    return None


def _range_refusal(
    what: str, name: str, tree: ParamTree, bounds: tuple[float, float]
) -> str | None:
    """How many numbers of a leaf are NaN, infinite or out of bounds; None: none."""
    flat = np.asarray(tree[name]).reshape(-1)
    least, most = bounds
    if _surely_within(flat, min(-least, most)):
        return None
    within = int(np.count_nonzero((flat >= least) & (flat <= most)))
    if within == flat.size:
        return None
    return (
        f"{what} has {flat.size - within} values of {flat.size} in leaf {name!r} that "
        f"are NaN, infinite or not in [{least:g}, {most:g}]; if this happens on every "
        "worker the inner loop diverges: lower meta_learning.inner_lr"
    )


def _surely_within(
    flat: np.ndarray[tuple[int], np.dtype[np.floating]], magnitude: float
) -> bool:
    """Whether the sum of squares shows that no magnitude is larger.

    It needs no temporary array, and a NaN or an infinity makes it one too. Many numbers
    within may have a larger sum: then each is to be looked at.
    """
    return bool(np.dot(flat, flat) <= magnitude**2)


@dataclass(frozen=True, slots=True)
class Versions:
    """What must be equal on both sides.

    Attributes:
        protocol: The contract of the wire.
        mlpeft: Release of mlpeft.
        mlx: Release of MLX; another may compute other bits.
        blas: Name of the BLAS, where results of another one are refused.
    """

    protocol: int
    mlpeft: str
    mlx: str
    blas: str = ""


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
        ("BLAS", theirs.blas, ours.blas),
    ]
    different = [
        f"{what} {their or 'unknown'} on the worker, {our} on the coordinator"
        for what, their, our in pairs
        if their != our
    ]
    if not different:
        return None
    refusal = f"versions differ: {'; '.join(different)}. To take part, "
    if replace(theirs, blas=ours.blas) == ours:
        return refusal + "give both the same BLAS (MLPEFT_BLAS names its file)"
    refusal += f"run on the worker: {_install(ours)}"
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
