"""What a round returns: the sum of its shards' updates, and the scores of each task."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from mlpeft.params import OrderedSum

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from mlpeft.params import ParamTree
    from mlpeft.work import ShardUpdate


@dataclass(frozen=True, slots=True)
class SummedTotals:
    """The totals of all shards as one sum: what the mean needs.

    Attributes:
        total: Float32 sum of the shards' totals, in the order of their index. Empty for
            validation and test.
        count: How many tasks are in it.
    """

    total: ParamTree
    count: int


@dataclass(frozen=True, slots=True)
class SeparateTotals:
    """The total of each shard by itself: what robust rules need.

    Attributes:
        totals: By the shards' index.
        counts: How many tasks each of them holds.
    """

    totals: tuple[ParamTree, ...]
    counts: tuple[int, ...]

    @property
    def count(self) -> int:
        """How many tasks all shards hold together."""
        return sum(self.counts)


Totals: TypeAlias = SummedTotals | SeparateTotals


@dataclass(frozen=True, slots=True)
class LateUpdate:
    """An update that came when its round had closed without it.

    Attributes:
        round: The shard's meta-iteration, of which theta it started from.
        update: What the shard returned.
    """

    round: int
    update: ShardUpdate

    @property
    def place(self) -> tuple[int, int]:
        """Meta-iteration and index of its shard."""
        return self.round, self.update.index


@dataclass(frozen=True, slots=True)
class RoundResult:
    """What a round returns.

    Attributes:
        totals: What the algorithm took from the tasks.
        per_task: `ShardUpdate.per_task` of each shard, by its index.
        shards: Indices of the shards that are in these; all, unless the executor does
            not wait for all (`ClosesEarly`).
        late: Updates of earlier rounds that came meanwhile, in the order of their
            places; not in the totals.
        otherwise: `ShardUpdate.otherwise` of the first that has it, late ones last.
    """

    totals: Totals
    per_task: tuple[ParamTree, ...]
    shards: tuple[int, ...] = ()
    late: tuple[LateUpdate, ...] = ()
    otherwise: str = ""

    @classmethod
    def of(cls, updates: Iterable[ShardUpdate], *, summed: bool = True) -> RoundResult:
        """The result that these updates make, in any order.

        Args:
            updates: One of each shard.
            summed: As in `RoundUpdates`.
        """
        collected = RoundUpdates(summed=summed)
        for update in updates:
            collected.add(update)
        return collected.result()

    def names(self) -> tuple[str, ...]:
        """Names of the per-task results."""
        return tuple(self.per_task[0])

    def over_tasks(self, name: str) -> np.ndarray:
        """A per-task result of all tasks in their order, (tasks, ...)."""
        return np.concatenate([shard[name] for shard in self.per_task])


class RoundUpdates:
    """The updates of a round, in whatever order they come, until all are in.

    Args:
        summed: True: totals are added up as they come, in the order of their index, and
            their memory is free from then on. False: they are kept apart.

    Attributes:
        ordered_sum: The sum so far; None if totals are kept apart.
    """

    def __init__(self, *, summed: bool) -> None:
        self.ordered_sum = OrderedSum() if summed else None
        self._updates: dict[int, ShardUpdate] = {}

    def __contains__(self, index: object) -> bool:
        return index in self._updates

    def __len__(self) -> int:
        return len(self._updates)

    def __iter__(self) -> Iterator[int]:
        return iter(self._updates)

    def add(self, update: ShardUpdate) -> None:
        """Take in the update of a shard that is not in."""
        if self.ordered_sum is not None:
            self.ordered_sum.add(update.index, update.total, owned=update.owned)
            update = replace(update, total={}, packed={})
        self._updates[update.index] = update

    def result(
        self, *, early: bool = False, late: Iterable[LateUpdate] = ()
    ) -> RoundResult:
        """What the round returns, once shards 0 .. n - 1 are in.

        Args:
            early: Whether some may be missing.
            late: Updates of earlier rounds, in any order.

        Raises:
            ValueError: If one before the last is missing.
        """
        ordered = [self._updates[index] for index in sorted(self._updates)]
        counts = tuple(update.count for update in ordered)
        shards = tuple(update.index for update in ordered)
        if not early and shards != tuple(range(len(shards))):
            raise ValueError(f"a round needs all its shards, got {sorted(self)}")
        if early and self.ordered_sum is not None:
            self.ordered_sum.close()
        totals: Totals
        if self.ordered_sum is None:
            totals = SeparateTotals(tuple(update.total for update in ordered), counts)
        else:
            totals = SummedTotals(self.ordered_sum.total, sum(counts))
        per_task = tuple(update.per_task for update in ordered)
        ordered_late = tuple(sorted(late, key=lambda each: each.place))
        said = [each.otherwise for each in ordered]
        said += [each.update.otherwise for each in ordered_late]
        otherwise = next(filter(None, said), "")
        return RoundResult(totals, per_task, shards, ordered_late, otherwise)
