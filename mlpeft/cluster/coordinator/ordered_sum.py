"""Sums a round's updates as they come in, in the order of their index.

Many workers with large updates would otherwise need the coordinator to hold all of them
at once. The order of the sum is that of `meta.aggregate.combine`, so its bits are, too.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from mlpeft.params import ParamTree
    from mlpeft.work import ShardUpdate


class OrderedSum:
    """The sum of a round's first updates.

    Attributes:
        done: How many are in the sum: those of index 0 .. done - 1.
    """

    def __init__(self) -> None:
        self.done = 0
        self._total: ParamTree = {}

    def take(self, updates: dict[int, ShardUpdate]) -> None:
        """Take in what is next in line, and leave the rest until its turn.

        Args:
            updates: What is in, by index. Those that are summed lose their `total`, so
                that its memory is free.
        """
        while self.done in updates:
            update = updates[self.done]
            updates[self.done] = replace(update, total={})
            self._add(update.total)
            self.done += 1

    def finish(self, updates: dict[int, ShardUpdate]) -> None:
        """Give the sum to the first of them, once all are in."""
        updates[0] = replace(updates[0], total=self._total)
        self._total = {}

    def _add(self, total: ParamTree) -> None:
        if self.done == 0:
            self._total = dict(total)
            return
        for name, leaf in total.items():
            if self.done == 1:  # the first update's arrays are not ours to change
                self._total[name] = self._total[name] + leaf
            else:
                np.add(self._total[name], leaf, out=self._total[name])
