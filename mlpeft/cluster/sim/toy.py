"""The toy run: tasks of a few float32 operations.

They are chosen so that another order of summation or another theta gives other bits.
MLX is not needed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeAlias

import numpy as np

from mlpeft.late_updates import with_late
from mlpeft.rounds import (
    LateUpdate,
    RoundResult,
    RoundUpdates,
    SeparateTotals,
    SummedTotals,
)
from mlpeft.work import Displacement, Kind, Shard, ShardUpdate, TaskSpec

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mlpeft.params import ParamTree

Vector: TypeAlias = np.ndarray[Any, np.dtype[np.float32]]


class Accepted(NamedTuple):
    """What counted in a round.

    Attributes:
        shards: Indices of its own shards.
        late: Round and index of others.
    """

    shards: tuple[int, ...]
    late: tuple[tuple[int, int], ...]


TOY_SIZE = 16
"""Numbers in the toy run's theta."""


def toy_shards(round_index: int, shards: int = 3, tasks: int = 2) -> tuple[Shard, ...]:
    """The shards of a round of the toy run."""
    return tuple(
        Shard(
            round=round_index,
            index=index,
            kind=Kind.TRAIN,
            tasks=tuple(
                TaskSpec("toy", seed=1000 * round_index + 10 * index + task)
                for task in range(tasks)
            ),
        )
        for index in range(shards)
    )


def toy_update(theta: Vector, shard: Shard) -> ShardUpdate:
    """What a shard of the toy run returns: sum over tasks of (theta + pull) / 3.

    Pulls differ in size by powers of three: the order of a sum shows in its bits.
    """
    total = np.zeros_like(theta)
    losses = []
    for task in shard.tasks:
        angles = np.arange(theta.size, dtype=np.float32) * np.float32(task.seed)
        pull = np.sin(angles) * np.float32(3 ** (task.seed % 7))
        adapted = (theta + pull) / np.float32(3)
        total = total + adapted
        losses.append(np.abs(adapted).max())
    per_task: ParamTree = {"support_loss": np.array(losses, dtype=np.float32)}
    return ShardUpdate(shard.index, len(shard.tasks), {"w": total}, per_task)


def toy_step(theta: Vector, result: RoundResult) -> Vector:
    """The next theta: theta + 0.7 (mean over all tasks - theta), in shard order."""
    total: Vector
    match result.totals:
        case SummedTotals(sum_of_all):
            total = sum_of_all["w"]
        case SeparateTotals(totals):
            total = np.zeros_like(theta)
            for shard in totals:
                total = total + shard["w"]
    mean = total / np.float32(result.totals.count)
    return theta + np.float32(0.7) * (mean - theta)


class Work(Protocol):
    """What a simulated run computes."""

    def start(self) -> ParamTree:
        """The first theta."""
        ...

    def shards(self, number: int) -> tuple[Shard, ...]:
        """The shards of a round."""
        ...

    def update(self, meta: ParamTree, shard: Shard) -> ShardUpdate:
        """What a shard returns."""
        ...

    def step(
        self, metas: Mapping[int, ParamTree], version: int, result: RoundResult
    ) -> ParamTree:
        """The next theta.

        Args:
            metas: By version, the newest among them.
            version: The newest.
            result: What the round returned.
        """
        ...


class ToyWork:
    """The toy run as `Work`.

    Args:
        shards: Shards of each round.
    """

    def __init__(self, shards: int) -> None:
        self._shards = shards

    def start(self) -> ParamTree:
        """See `Work`."""
        return {"w": np.ones(TOY_SIZE, dtype=np.float32)}

    def shards(self, number: int) -> tuple[Shard, ...]:
        """See `Work`."""
        return toy_shards(number, self._shards)

    def update(self, meta: ParamTree, shard: Shard) -> ShardUpdate:
        """See `Work`."""
        return toy_update(np.asarray(meta["w"]), shard)

    def step(
        self, metas: Mapping[int, ParamTree], version: int, result: RoundResult
    ) -> ParamTree:
        """See `Work`."""
        joined = with_late(result, metas, version, Displacement.FROM_THETA)
        return {"w": toy_step(metas[version]["w"], joined)}


def replayed(accepted: Sequence[Accepted], shards: int) -> Vector:
    """Theta of a run whose rounds need not wait, computed again from what counted.

    Args:
        accepted: What counted, by round.
        shards: Shards of each round.
    """
    work = ToyWork(shards)
    metas = {0: work.start()}
    for index, counted in enumerate(accepted):
        updates = RoundUpdates(summed=False)
        for shard in counted.shards:
            updates.add(work.update(metas[index], work.shards(index)[shard]))
        late = [
            LateUpdate(number, work.update(metas[number], work.shards(number)[place]))
            for number, place in counted.late
        ]
        result = updates.result(early=True, late=late)
        metas[index + 1] = work.step(metas, index, result)
    theta: Vector = metas[len(accepted)]["w"]
    return theta


def serial_result(rounds: int, size: int = TOY_SIZE, shards: int = 3) -> Vector:
    """Theta after so many rounds of the toy run in one process.

    Its sums are plain ones, so that what is compared with it proves `OrderedSum`.
    """
    theta = np.ones(size, dtype=np.float32)
    for index in range(rounds):
        updates = [toy_update(theta, shard) for shard in toy_shards(index, shards)]
        theta = toy_step(theta, RoundResult.of(updates, summed=False))
    return theta
