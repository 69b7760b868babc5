"""What do the ways to adapt a large base in little memory cost, and save?

SmolLM2-135M-Instruct in float32 (or --weights), LoRA of rank 8 in its last --layers
layers. A step is one inner step of Adam on --sequences sequences of --tokens tokens,
half of each a prompt, one thread, not compiled. All ways take turns in one process on
the same tokens, after one step each that is not counted. CPU seconds are shown, which
say more than the clock on a machine that others use, too; memory is MLX's peak above
what is held before. It takes half a minute of one core.

    python -m benchmarks.large_base
"""

from __future__ import annotations

import argparse
import time
from statistics import median
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.base_dtype import SMOLLM2, WORDS
from mlpeft import params
from mlpeft.config import ModelSection, PeftSection
from mlpeft.meta.engine import Engine
from mlpeft.meta.functional import get_params
from mlpeft.meta.inner import InnerLoop
from mlpeft.models.build import build_model
from mlpeft.models.losses import IGNORED, cross_entropy_loss
from mlpeft.platform import set_blas_threads
from mlpeft.tasks.episode import Episode

if TYPE_CHECKING:
    import mlx.nn as nn

EVERY_STEP = "all layers in every step"
WAYS: dict[str, tuple[bool, int | None]] = {
    EVERY_STEP: (False, None),
    "frozen layers once": (False, None),
    "+ `gradient_checkpointing`": (True, None),
    "+ `inner_micro_batch: 1`": (False, 1),
    "+ both": (True, 1),
}
"""Each way: gradient checkpointing, micro-batch."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--weights", default=SMOLLM2)
    parser.add_argument("--layers", type=int, default=8)
    parser.add_argument("--sequences", type=int, default=4)
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    set_blas_threads(1)
    section = ModelSection(
        backbone="causal_lm", weights=args.weights, base_dtype="float32"
    )
    peft = PeftSection(method="lora", num_layers=args.layers)
    model = build_model(section, (args.tokens,), 1, seed=0, peft=peft)
    shape = (args.sequences, args.tokens)
    x = np.random.default_rng(0).integers(0, WORDS, shape).astype(np.int32)
    labels = np.roll(x, -1, axis=1)
    labels[:, : args.tokens // 2] = IGNORED  # the prompt
    episode = Episode(x, labels, x[:0], x[:0])
    seconds: dict[str, list[float]] = {way: [] for way in WAYS}
    megabytes: dict[str, float] = {}
    for number in range(args.rounds + 1):
        for way in WAYS:
            took, megabytes[way] = measure(model, episode, way)
            if number:
                seconds[way].append(took)
    print("| an inner step | CPU time | peak memory beside the model |")
    print("| --- | ---: | ---: |")
    for way in WAYS:
        print(f"| {way} | {median(seconds[way]):.2f} s | {megabytes[way]:,.0f} MB |")


def measure(model: nn.Module, episode: Episode, way: str) -> tuple[float, float]:
    """CPU seconds and megabytes of one step."""
    import mlx.core as mx  # not before mlpeft, which loads a faster BLAS

    checkpointing, micro_batch = WAYS[way]
    loop = InnerLoop(lr=1e-3, num_steps=1, optimizer="adam", micro_batch=micro_batch)
    engine = Engine(
        model,
        cross_entropy_loss,
        loop,
        "loop",
        gradient_checkpointing=checkpointing,
    )
    # Without its `prepare` the model runs all of its layers.
    engine._functional.prepares = way != EVERY_STEP  # noqa: SLF001 - for comparison
    theta = params.to_numpy(get_params(model))
    mx.clear_cache()
    mx.reset_peak_memory()
    held = mx.get_active_memory()
    began = time.process_time()
    engine.train(theta, [episode], np.random.default_rng)
    seconds = time.process_time() - began
    return seconds, (mx.get_peak_memory() - held) / 1e6


if __name__ == "__main__":
    main()
