"""What does it save to compute logits at the tokens that count, and nowhere else?

An episode of configs/style_reptile.yaml: LoRA in the last layers of SmolLM2-135M, four
messages in a batch, the loss on completions alone. A step is an inner step of Adam with
the frozen layers' features at hand, not compiled; scoring is one pass over six other
messages. With and without take turns in one process. CPU seconds of one thread are
shown, which say more than the clock on a machine that others use, too; memory is MLX's
peak above what is held before.

    python -m benchmarks.lm_head
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, NamedTuple

from mlpeft.config import RunConfig
from mlpeft.meta.functional import Functional, get_params
from mlpeft.meta.inner import InnerLoop, inner_loop, last
from mlpeft.meta.support import PreparedSupport, SupportPlan
from mlpeft.models.losses import cross_entropy_loss
from mlpeft.platform import set_blas_threads
from mlpeft.training.plan import test_shards
from mlpeft.training.runner import ShardRunner

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np

RECIPE = Path(__file__).resolve().parents[1] / "configs" / "style_reptile.yaml"


class Cost(NamedTuple):
    """What one call took."""

    cpu_s: float
    megabytes: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7)
    args = parser.parse_args()
    set_blas_threads(1)
    runner = ShardRunner.from_config(RunConfig.load(RECIPE))
    (shard,) = test_shards(runner.config, runner.tasks, 1)
    (task,) = shard.tasks
    episode = runner.tasks.test.episode(task.task_id, task.seed)
    inner = InnerLoop.from_config(runner.config.meta_learning)
    costs: dict[tuple[bool, str], list[Cost]] = {}
    for number in range(args.rounds + 1):
        for picks in (False, True):
            functional = Functional(runner.model, cross_entropy_loss)
            functional.picks = picks
            calls = {
                "step": _step(functional, inner, episode.support_x, episode.support_y),
                "score": _score(functional, episode.query_x, episode.query_y),
            }
            for name, call in calls.items():
                cost = measured(call)
                if number:
                    costs.setdefault((picks, name), []).append(cost)
    counted = int((episode.support_y >= 0).sum())
    print(f"{counted} of {episode.support_y.size} tokens count\n")
    print("| logits | step | its peak memory | scoring | its peak memory |")
    print("| --- | ---: | ---: | ---: | ---: |")
    for picks, label in ((False, "of all tokens"), (True, "where they count")):
        cells = [
            f"{median(c.cpu_s for c in costs[picks, name]):.3f} s | "
            f"{costs[picks, name][-1].megabytes:,.0f} MB"
            for name in ("step", "score")
        ]
        print(f"| {label} |", " | ".join(cells), "|")
    for name in ("step", "score"):
        ratios = [
            one.cpu_s / other.cpu_s
            for one, other in zip(costs[True, name], costs[False, name], strict=True)
        ]
        least, most = min(ratios), max(ratios)
        print(f"{name}: {median(ratios):.2f} of the time ({least:.2f} to {most:.2f})")


def measured(call: Callable[[], None]) -> Cost:
    """CPU seconds of a call, and MLX's peak memory above what was held."""
    import mlx.core as mx  # not before mlpeft, which loads a faster BLAS

    mx.clear_cache()
    mx.reset_peak_memory()
    held = mx.get_active_memory()
    began = time.process_time()
    call()
    seconds = time.process_time() - began
    return Cost(seconds, (mx.get_peak_memory() - held) / 1e6)


def _step(
    functional: Functional, inner: InnerLoop, x: np.ndarray, y: np.ndarray
) -> Callable[[], None]:
    import mlx.core as mx  # not before mlpeft, which loads a faster BLAS

    theta = get_params(functional.model)
    support = PreparedSupport.of(SupportPlan(x, y), functional.prepare)
    mx.eval(theta, support.whole)
    one_step = replace(inner, num_steps=1)

    def step() -> None:
        with functional.installed():
            end = last(inner_loop(functional, one_step, theta, {}, support))
            mx.eval(end)

    return step


def _score(functional: Functional, x: np.ndarray, y: np.ndarray) -> Callable[[], None]:
    import mlx.core as mx

    theta = get_params(functional.model)
    prepared, labels = functional.prepare(x, y), mx.array(y)
    mx.eval(theta, prepared)

    def score() -> None:
        with functional.installed():
            mx.eval(functional.loss(theta, prepared, labels))

    return score


if __name__ == "__main__":
    main()
