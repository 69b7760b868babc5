"""How far do honest updates move theta, in spreads above the median of recent ones?

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

from mlpeft.cluster.coordinator.outliers import NormHistory, displacement
from mlpeft.config import RunConfig
from mlpeft.training.loop import train
from mlpeft.training.runner import LocalExecutor, ShardRunner
from mlpeft.work import Kind

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mlpeft.params import ParamTree
    from mlpeft.work import Shard, ShardUpdate


class MeasuringExecutor(LocalExecutor):
    """Computes rounds here, and notes the norms of their updates."""

    def __init__(self, runner: ShardRunner) -> None:
        super().__init__(runner)
        self.norms: list[float] = []
        self.spreads: list[float] = []
        self._history = NormHistory()

    def run(
        self, version: int, meta: ParamTree, shards: Sequence[Shard]
    ) -> list[ShardUpdate]:
        """The updates of all shards, in the order of their index."""
        updates = super().run(version, meta, shards)
        if shards[0].kind is Kind.TRAIN:
            norms = [displacement(update, meta) for update in updates]
            one = self._history.limit(1)  # the median and one spread
            if one is not None:
                spread = one.norm - one.median
                self.spreads += [(norm - one.median) / spread for norm in norms]
            self.norms += norms
            self._history.add(norms)
        return updates


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
        runner = ShardRunner.from_config(config)
        executor = MeasuringExecutor(runner)
        train(config, runner=runner, executor=executor)
    record = {
        "updates": len(executor.norms),
        "median_norm": float(np.median(executor.norms)),
        "largest_norm": max(executor.norms),
        "most_spreads": max(executor.spreads, default=None),
    }
    print(json.dumps(record))


if __name__ == "__main__":
    main()
