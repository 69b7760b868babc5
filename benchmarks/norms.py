"""How far would honest updates move theta, in spreads above the median of recent ones?

    python -m benchmarks.norms configs/digits.yaml meta_learning.num_meta_iterations=500

A training without validation, in this process. `cluster.norm_factor` should lie well
above the largest figure; docs/protocol.md has those of the configurations.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from typing import TYPE_CHECKING

import numpy as np

from mlpeft.cluster.coordinator.norm_history import NormHistory
from mlpeft.cluster.coordinator.outliers import displacement_norm
from mlpeft.config import RunConfig
from mlpeft.meta import state
from mlpeft.meta.algorithms import ALGORITHMS
from mlpeft.training.loop import train
from mlpeft.training.runner import ShardRunner
from mlpeft.work import Kind

if TYPE_CHECKING:
    from collections.abc import Callable

    import mlx.nn as nn

    from mlpeft.params import ParamTree
    from mlpeft.tasks.build import TaskSplits
    from mlpeft.work import Shard, ShardUpdate


class MeasuringRunner(ShardRunner):
    """Notes the norms of its updates' displacements, in shards as a cluster does."""

    def __init__(self, config: RunConfig, tasks: TaskSplits, model: nn.Module) -> None:
        super().__init__(config, tasks, model)
        self.norms: list[float] = []
        self.spreads: list[float] = []
        self._closed = NormHistory()  # of rounds before
        self._open: list[float] = []

    def run(
        self,
        meta: ParamTree,
        shard: Shard,
        progress: Callable[[int], None] = lambda _: None,
    ) -> ShardUpdate:
        """Compute one shard."""
        update = super().run(meta, shard, progress)
        if shard.kind is Kind.TRAIN:
            theta, _ = state.split(meta)
            algorithm = ALGORITHMS[self.config.meta_learning.algorithm]
            self._note(
                shard.index, displacement_norm(update, theta, algorithm.displacement)
            )
        return update

    def _note(self, index: int, norm: float) -> None:
        """Hold a norm against those of the rounds before."""
        if index == 0:
            self._closed.add(("one machine", norm) for norm in self._open)
            self._open = []
        self._open.append(norm)
        self.norms.append(norm)
        one = self._closed.limit(1)  # the median and one spread
        if one is not None:
            self.spreads.append((norm - one.median) / (one.norm - one.median))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("config")
    parser.add_argument("overrides", nargs="*", help="section.key=value")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        once = [
            f"paths.checkpoint_dir={folder}",
            "meta_learning.eval_interval=1000000",
            "evaluation.num_val_episodes=1",
        ]
        config = RunConfig.load(arguments.config, [*arguments.overrides, *once])
        runner = MeasuringRunner.from_config(config)
        train(config, runner=runner)
    record = {
        "updates": len(runner.norms),
        "median_norm": float(np.median(runner.norms)),
        "largest_norm": max(runner.norms),
        "most_spreads": max(runner.spreads, default=None),
    }
    print(json.dumps(record))


if __name__ == "__main__":
    main()
