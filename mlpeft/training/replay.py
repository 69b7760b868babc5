"""Computes a run again from what counted, one shard after another in this process.

A run whose rounds do not wait depends on who was fast, and on nothing else beside its
configuration: `accepted` has that. So the same theta comes out on any machine that
computes like those of the run, with one worker or none.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mlpeft import params
from mlpeft.errors import CheckpointError
from mlpeft.rounds import LateUpdate, RoundUpdates
from mlpeft.training import accepted, checkpoint, starts
from mlpeft.training.accepted import Accepted
from mlpeft.training.loop import moved_by
from mlpeft.training.plan import train_shards
from mlpeft.training.run_files import refuse_links
from mlpeft.training.run_folder import outer_step
from mlpeft.training.staleness import ThetaHistory

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from mlpeft.params import ParamTree
    from mlpeft.rounds import RoundResult
    from mlpeft.training.runner import ShardRunner
    from mlpeft.work import Shard


@dataclass(frozen=True, slots=True)
class Compared:
    """A checkpoint beside what was computed again.

    Attributes:
        iteration: Meta-iterations done.
        same: Whether both have the same bytes, theta and the outer optimiser's state.
        digest: SHA-256 of theta as it was computed again, hexadecimal.
    """

    iteration: int
    same: bool
    digest: str


class Replay:
    """Computes a run again.

    Args:
        runner: Tasks and model, with the run's configuration.
        run_dir: The run's folder; nothing is written there.

    Attributes:
        iterations: Meta-iterations of its newest checkpoint.
        progress: Called with the meta-iterations that are done.

    Raises:
        CheckpointError: If it holds no checkpoint, or the log of what counted is
            damaged.
    """

    def __init__(self, runner: ShardRunner, run_dir: Path) -> None:
        refuse_links(run_dir)
        self._runner = runner
        self.progress: Callable[[int], None] = lambda _: None
        self._accepted = accepted.read(run_dir, torn=True)
        self._steps = {
            int(path.name): path for path in checkpoint.step_folders(run_dir)
        }
        if not self._steps:
            raise CheckpointError(
                f"{run_dir.absolute()} holds no checkpoint to compare with; give the "
                "folder of a run, as `mlpeft train` prints it"
            )
        self.iterations = max(self._steps)
        most = 1 + max(
            (
                each.iteration - number
                for each in self._accepted.values()
                for number, _ in each.late
            ),
            default=0,
        )
        self._history = ThetaHistory.of(runner.config, keep=most)

    def run(self) -> Iterator[Compared]:
        """Compare each checkpoint of the run as soon as it is reached, oldest first.

        Raises:
            CheckpointError: If the first cannot be read, although the run began there.
        """
        config, last = self._runner.config, self.iterations
        meta, outer = self._start(), outer_step(config)
        for iteration in range(last + 1):
            self.progress(iteration)
            if iteration in self._steps:
                yield self._compared(iteration, meta, outer.state)
            if iteration == last:
                return
            self._history.note(iteration, meta)
            done = self._history.joined(self._round(iteration, meta), iteration)
            meta = moved_by(outer, config, meta, done, iteration).meta

    def _start(self) -> ParamTree:
        """The meta-state that the run began with."""
        init = self._runner.config.run.init
        if 0 in self._steps:
            saved = checkpoint.load(self._steps[0]).meta
            return {name: saved[name] for name in sorted(saved)}
        if init is None:
            return self._runner.initial_meta()
        return self._runner.initial_meta(starts.read_start(self._runner, init)[0])

    def _round(self, iteration: int, meta: ParamTree) -> RoundResult:
        """What the executor returned for a meta-iteration."""
        config = self._runner.config
        own = self._shards(iteration)
        counted = self._accepted.get(iteration)
        if counted is None:
            whole = train_shards(config, self._runner.tasks, iteration)
            counted = Accepted(iteration, tuple(range(len(whole))), ())
        updates = RoundUpdates(summed=config.meta_learning.aggregation == "mean")
        for index in counted.shards:
            updates.add(self._runner.run(meta, _shard(own, index)))
        late = [
            LateUpdate(
                number,
                self._runner.run(
                    self._history.theta(number), _shard(self._shards(number), index)
                ),
            )
            for number, index in counted.late
        ]
        return updates.result(early=True, late=late)

    def _shards(self, iteration: int) -> list[Shard]:
        """All shards that a meta-iteration may have had."""
        return train_shards(
            self._runner.config, self._runner.tasks, iteration, spare=True
        )

    def _compared(self, iteration: int, meta: ParamTree, outer: ParamTree) -> Compared:
        saved = checkpoint.load(self._steps[iteration])
        digest = params.digest(meta)
        same = digest == params.digest(saved.meta) and params.digest(
            outer
        ) == params.digest(saved.outer)
        return Compared(iteration, same, digest)


def _shard(shards: list[Shard], index: int) -> Shard:
    """A shard by its index.

    Raises:
        CheckpointError: If there is none: the log is of another configuration.
    """
    if index >= len(shards):
        raise CheckpointError(
            f"shard {index} of meta-iteration {shards[0].round} counts, but there are "
            f"{len(shards)}: {accepted.FILE} does not belong to this config.yaml"
        )
    return shards[index]
