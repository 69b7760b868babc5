"""Whether two workers that computed a shard found the same.

Workers on the same kind of device find the same bits. Others round differently, and an
inner loop magnifies that, so their updates are compared by norms. A lie that is told to
look like another device's result is thereby bounded, not excluded.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mlpeft.work import Displacement

if TYPE_CHECKING:
    from mlpeft.cluster.coordinator.messages import WorkerJoined
    from mlpeft.params import ParamTree
    from mlpeft.work import ShardUpdate

TOLERANCE = 0.25
"""Difference of two displacements, or of two workers' scores, in the larger's norm,
within which unlike devices agree. Theta unchanged differs by 1, a sign by 2."""
ROUNDING = 1e-5
"""The same in norms of theta: where hardly anything moves, rounding is all there is."""
SCORE_ROUNDING = 0.01
"""The same in losses and accuracies."""


def are_alike(first: WorkerJoined, second: WorkerJoined) -> bool:
    """Whether two workers compute the same bits, by what they say of their devices.

    Their versions and their view of the run are equal, or they could not have joined.
    """
    return bool(first.device) and first.device == second.device


def same_bits(first: ShardUpdate, second: ShardUpdate) -> bool:
    """Whether two sound updates of a shard are equal in every bit."""
    return _equal(first.total, second.total) and _equal(first.per_task, second.per_task)


def _equal(first: ParamTree, second: ParamTree) -> bool:
    return all(
        np.array_equal(first[name].view(np.uint32), second[name].view(np.uint32))
        for name in first
    )


def nearly_same(
    first: ShardUpdate,
    second: ShardUpdate,
    theta: ParamTree,
    displacement: Displacement,
) -> bool:
    """Whether two sound updates of a shard differ by no more than unlike devices do.

    `||a - b|| <= TOLERANCE * max(||a||, ||b||)`, and some rounding, for the
    displacements `a` and `b` and for each of the per-task results.

    Args:
        first: An update.
        second: Another of the same shard.
        theta: What both started from, NumPy float32; carried state is left out.
        displacement: What the run's algorithm takes from a shard.
    """
    if first.total:
        squares = np.zeros(4)
        for name, start in theta.items():
            one, other = (
                update.total[name].astype(np.float64) / update.count
                for update in (first, second)
            )
            origin = start if displacement is Displacement.FROM_THETA else 0.0
            squares += [
                np.sum(np.square(leaf, dtype=np.float64))
                for leaf in (one - other, one - origin, other - origin, start)
            ]
        apart, moved, also, size = np.sqrt(squares)
        if apart > TOLERANCE * max(moved, also) + ROUNDING * size:
            return False
    return all(
        _near(first.per_task[name], second.per_task[name]) for name in first.per_task
    )


def _near(first: np.ndarray, second: np.ndarray) -> bool:
    one, other = first.astype(np.float64), second.astype(np.float64)
    largest = max(np.linalg.norm(one), np.linalg.norm(other))
    rounding = SCORE_ROUNDING * np.sqrt(one.size)
    return bool(np.linalg.norm(one - other) <= TOLERANCE * largest + rounding)
