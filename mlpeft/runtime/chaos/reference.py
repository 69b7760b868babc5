"""The same run without faults, in one process, up to some meta-iterations.

    python -m mlpeft.runtime.chaos.reference CONFIG ITERATION [ITERATION ...]

It runs as a process of its own, with the environment of the workers. After each of the
meta-iterations it saves, and says so in a line: `at ITERATION`.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from mlpeft.config import RunConfig
from mlpeft.reporting import JsonlReporter
from mlpeft.training.loop import train
from mlpeft.training.runner import ShardRunner

if TYPE_CHECKING:
    from collections.abc import Mapping


class _Counter(JsonlReporter):
    """Knows how far the run is."""

    def __init__(self) -> None:
        super().__init__()
        self.done = 0

    def iteration(self, iteration: int, metrics: Mapping[str, float]) -> None:
        """See `Reporter.iteration`."""
        super().iteration(iteration, metrics)
        self.done = iteration


def compute(config: RunConfig, iterations: list[int]) -> None:
    """Train, with a checkpoint at each of these meta-iterations."""
    runner = ShardRunner.from_config(config)
    for wanted in sorted(set(iterations)):
        counter = _Counter()
        train(
            config,
            runner=runner,
            reporter=counter,
            resume=None,
            should_stop=lambda c=counter, w=wanted: c.done >= w,  # type: ignore[misc]
        )
        sys.stderr.write(f"at {wanted}\n")
        sys.stderr.flush()


if __name__ == "__main__":
    compute(RunConfig.load(sys.argv[1]), [int(text) for text in sys.argv[2:]])
