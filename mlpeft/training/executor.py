"""The executor of one process."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from mlpeft.rounds import RoundUpdates
from mlpeft.work import check_round

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from mlpeft.params import ParamTree
    from mlpeft.rounds import RoundResult
    from mlpeft.training.runner import ShardRunner
    from mlpeft.work import Kind, RoundsResult, Shard


class LocalExecutor:
    """Computes rounds in this process, one shard after another.

    An error of the runner is the round's: here nobody else could try again.

    Args:
        runner: Who computes a shard.
        progress: Called with kind, tasks done and tasks in all when a round begins and
            whenever a task of it is done; it may raise to give the round up.
    """

    def __init__(
        self,
        runner: ShardRunner,
        progress: Callable[[Kind, int, int], None] = lambda *_: None,
    ) -> None:
        self.runner = runner
        self._progress = progress
        self._version: int | None = None

    def run(
        self, version: int, meta: ParamTree, shards: Sequence[Shard]
    ) -> RoundResult:
        """Compute a round; see `mlpeft.work.Executor`."""
        check_round(version, shards, self._version)
        self._version = version
        rule = self.runner.config.meta_learning.aggregation
        updates = RoundUpdates(summed=rule == "mean")
        total = sum(len(shard.tasks) for shard in shards)
        before = 0
        self._progress(shards[0].kind, 0, total)
        for shard in shards:
            tell = partial(self._tell, shard.kind, total, before)
            updates.add(self.runner.run(meta, shard, tell))
            before += len(shard.tasks)
        return updates.result()

    def _tell(self, kind: Kind, total: int, before: int, done: int) -> None:
        """Pass on that so many tasks of a shard are done, and those before it."""
        self._progress(kind, before + done, total)

    def close(self) -> None:
        """Nothing to release."""


class IteratingExecutor(LocalExecutor):
    """A `LocalExecutor` that computes several meta-iterations in one native call."""

    def iterate(
        self,
        version: int,
        meta: ParamTree,
        rounds: Sequence[Sequence[Shard]],
        lrs: Sequence[float],
    ) -> RoundsResult | None:
        """See `mlpeft.work.Iterates`."""
        for number, shards in enumerate(rounds):
            check_round(version + number, shards, self._version)
        done = self.runner.iterate(meta, rounds, lrs)
        if done is not None:
            self._version = version + len(rounds) - 1
        return done
