"""Several meta-iterations in one native call, where nobody looks at theta in between.

With fused inner loops and a plain outer step, the C that computes a shard can take the
outer step too, with the bits of `OuterStep`. A stride ends where the run is validated
or saved, and takes `LONG_CALL_S` at most, so that progress and Ctrl-C stay live.
"""

from __future__ import annotations

from time import perf_counter
from typing import TYPE_CHECKING

import numpy as np

from mlpeft.meta.state import carried
from mlpeft.meta.task_programs import LONG_CALL_S
from mlpeft.training.plan import train_shards
from mlpeft.work import Iterates

if TYPE_CHECKING:
    from collections.abc import Callable

    from mlpeft.params import ParamTree
    from mlpeft.reporting import Reporter
    from mlpeft.training.run import Run
    from mlpeft.training.runner import ShardRunner
    from mlpeft.work import Executor, Shard

MOST_ITERATION_S = 2.0
"""A meta-iteration that takes longer is computed shard by shard, with its progress."""


class Strides:
    """Takes a run's meta-iterations several at a time, where that changes nothing.

    Args:
        run: The run.
        runner: Its tasks and model.
        executor: Who computes.

    Attributes:
        stopped: Whether someone asked to stop where the last stride ends.
    """

    def __init__(self, run: Run, runner: ShardRunner, executor: Executor) -> None:
        self._run = run
        self._runner = runner
        self.stopped = False
        self._executor: Iterates | None = None
        if isinstance(executor, Iterates) and _is_plain(run):
            self._executor = executor
        self._iteration_s = 0.0  # not known
        self._many = 1

    def take(self, reporter: Reporter, should_stop: Callable[[], bool]) -> bool:
        """Do the next meta-iterations; False: the next one has to be a round.

        Args:
            reporter: Told of each.
            should_stop: Asked before each but the first.
        """
        executor, run = self._executor, self._run
        if executor is None or self._iteration_s > MOST_ITERATION_S:
            return False
        first, begun = run.progress.iteration, perf_counter()
        rounds: list[list[Shard]] = []
        for iteration in range(first, first + self._length()):
            if self._runner.course(iteration).loss_weights is not None:
                break
            self.stopped = bool(rounds) and should_stop()
            if self.stopped:
                break
            rounds.append(train_shards(run.config, self._runner.tasks, iteration))
        lrs = [run.outer.lr_at(first + number) for number in range(len(rounds))]
        done = executor.iterate(first, run.meta, rounds, lrs) if rounds else None
        if done is None:
            self._executor = None
            return False
        if self._iteration_s:
            self._iteration_s = (perf_counter() - begun) / len(rounds)
            fitting = int(LONG_CALL_S / self._iteration_s)
            self._many = max(1, min(2 * self._many, fitting))
        else:  # the first compiles
            self._iteration_s = MOST_ITERATION_S
        metrics = [
            {name: float(values.mean()) for name, values in per_task.items()}
            | {"param_diff": float(moved), "outer_lr": lr}
            for per_task, moved, lr in zip(done.per_task, done.moved, lrs, strict=True)
        ]
        if not all(np.isfinite(value) for one in metrics for value in one.values()):
            self._executor = None  # one by one, to where it went wrong
            return False
        for number, one in enumerate(metrics, first + 1):
            reporter.iteration(number, one)
        advance(run, done.meta, len(rounds))
        return True

    def _length(self) -> int:
        """Meta-iterations until somebody looks, or as many as fit into a call."""
        settings, done = self._run.config.meta_learning, self._run.progress.iteration
        intervals = settings.eval_interval, settings.save_interval
        ends = [done - done % interval + interval for interval in intervals]
        return min(self._many, min(*ends, settings.num_meta_iterations) - done)


def advance(run: Run, meta: ParamTree, iterations: int) -> None:
    """Move a run on; none of the meta-iterations but the last is one of validation."""
    settings, progress = run.config.meta_learning, run.progress
    run.meta = meta
    progress.iteration += iterations
    last = progress.iteration == settings.num_meta_iterations
    progress.validation_due = last or progress.iteration % settings.eval_interval == 0


def _is_plain(run: Run) -> bool:
    """Whether the outer step is gradient descent by the mean over tasks, and no more.

    Sums over shards of one task, or of all, are sums over the tasks in their order.
    """
    settings, compute = run.config.meta_learning, run.config.compute
    return (
        compute.strategy == "fused"
        and settings.outer_optimizer == "sgd"
        and settings.update_clip is None
        and settings.aggregation == "mean"
        and run.config.cluster.compression == "none"
        and compute.shard_size in {1, settings.meta_batch_size}
        and not carried(run.meta)
    )
