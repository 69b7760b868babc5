"""What late updates count in a round: displacements from an older theta."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from mlpeft.params import add
from mlpeft.rounds import SeparateTotals, SummedTotals
from mlpeft.work import Displacement

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from mlpeft.params import ParamTree
    from mlpeft.rounds import RoundResult, Totals


def with_late(
    result: RoundResult,
    thetas: Mapping[int, ParamTree],
    now: int,
    displacement: Displacement,
    carried: Collection[str] = (),
) -> RoundResult:
    """A round's result with its late updates in the totals, after the shards in time.

    A late shard's displacement counts as if it had started from the newest theta, with
    weight `1 / sqrt(1 + s)` if it is s versions late (FedBuff's): its total becomes
    `count theta_now + w (total - count theta_then)`, or `w total` of gradients. It
    counts as many tasks as it has. Carried state counts as it is.

    Args:
        result: What the executor returned.
        thetas: Meta-states by version: the newest, and those of the late updates.
        now: The newest version.
        displacement: What the run's algorithm takes from a shard.
        carried: Leaves that are carried state.

    References:
        Nguyen et al., "Federated Learning with Buffered Asynchronous Aggregation",
        2022, arXiv 2106.06639.
    """
    totals = result.totals
    for each in result.late:
        update, count = each.update, np.float32(each.update.count)
        weight = np.float32(1.0 / np.sqrt(1.0 + now - each.round))
        total: ParamTree = {}
        for name in sorted(update.total):
            leaf = update.total[name]
            if name in carried:
                total[name] = leaf
            elif displacement is Displacement.AS_IT_IS:
                total[name] = weight * leaf
            else:
                moved = leaf - count * thetas[each.round][name]
                total[name] = count * thetas[now][name] + weight * moved
        totals = _joined(totals, total, update.count)
    per_task = (*result.per_task, *(each.update.per_task for each in result.late))
    return replace(result, totals=totals, per_task=per_task, late=())


def _joined(totals: Totals, total: ParamTree, count: int) -> Totals:
    """Totals with one more; those that are given are not changed."""
    match totals:
        case SummedTotals(before, counted):
            new = add(before, total) if before else total
            return SummedTotals(new, counted + count)
        case SeparateTotals(before_each, counts):
            return SeparateTotals((*before_each, total), (*counts, count))
