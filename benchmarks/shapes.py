"""Does memory grow with the number of shapes that a run meets?

A small transformer learns to classify texts, and scores queries, with the strategy
compiled. Their length and number change from one meta-iteration to the next, so nearly
every one brings shapes that were never seen. `--kept` sets how many are kept.

    python -m benchmarks.shapes                                # bounded: flat
    python -m benchmarks.shapes --iterations 600 --kept 100000    # as MLX has it
"""

from __future__ import annotations

import argparse
import gc
import os
import sys
import time
from pathlib import Path

# Before mlx.core: mlpeft loads a BLAS that MLX then uses.
from mlpeft import cross_entropy_loss

# isort: split
import mlx.core as mx
import mlx.nn as nn
import numpy as np

from mlpeft.meta.learner import ReptileLearner
from mlpeft.models.build import seeded
from mlpeft.models.ops import attention, compiled, gelu
from mlpeft.platform import peak_memory_bytes, set_blas_threads

WORDS, DIMS, HEADS, CLASSES, LONGEST = 100, 16, 2, 3, 200
SIZES = range(3, 60)
"""Examples and queries of an episode."""


class TextClassifier(nn.Module):
    """One layer of attention over word embeddings."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(WORDS, DIMS)
        self.mixed = nn.Linear(DIMS, 3 * DIMS)
        self.classes = nn.Linear(DIMS, CLASSES)

    def __call__(self, tokens: mx.array) -> mx.array:
        """Logits (n, classes) of tokens (n, length)."""
        count, length = tokens.shape
        parts = self.mixed(self.words(tokens)).reshape(count, length, 3, HEADS, -1)
        queries, keys, values = (parts[:, :, i].swapaxes(1, 2) for i in range(3))
        mask = mx.ones((1, 1, length, length), mx.bool_)
        found = attention(queries, keys, values, mask).swapaxes(1, 2)
        return self.classes(gelu(found.reshape(count, length, DIMS))[:, 0])


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--iterations", type=int, default=3000)
    parser.add_argument("--kept", type=int, default=compiled.MOST_SHAPES)
    args = parser.parse_args()
    set_blas_threads(1)
    compiled.MOST_SHAPES = args.kept
    with seeded(0):
        learner = ReptileLearner(TextClassifier(), strategy="compiled", outer_lr=0.5)
    rng = np.random.default_rng(0)
    seen = set()
    began = time.perf_counter()
    print("| meta-iterations | shapes | memory | seconds |")
    print("| ---: | ---: | ---: | ---: |")
    for number in range(1, args.iterations + 1):
        episode = _episode(rng)
        seen.add(tuple(part.shape for part in episode))
        learner.meta_train_step([episode], cross_entropy_loss)
        learner.evaluate([episode], cross_entropy_loss)
        if number % max(args.iterations // 10, 1) == 0:
            seconds = time.perf_counter() - began
            memory = f"{_memory_bytes() / 1e6:.0f} MB"
            print(
                f"| {number:,} | {len(seen):,} | {memory} | {seconds:.0f} |", flush=True
            )


def _episode(rng: np.random.Generator) -> tuple[np.ndarray, ...]:
    """Texts of random words, of a random length and number."""
    parts = []
    for size in rng.choice(SIZES, 2):
        length = rng.integers(1, LONGEST + 1)
        parts.append(rng.integers(0, WORDS, (size, length)).astype(np.int32))
        parts.append((np.arange(size) % CLASSES).astype(np.int32))
    return tuple(parts)


def _memory_bytes() -> int:
    """What this process holds, without what MLX could give back; a Mac: its peak."""
    gc.collect()
    mx.clear_cache()
    if not sys.platform.startswith("linux"):
        return peak_memory_bytes()
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


if __name__ == "__main__":
    main()
