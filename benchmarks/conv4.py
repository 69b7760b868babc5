"""Which strategy suits Conv4? Processor time of a meta-iteration, and memory.

Two tasks of 5 examples and 15 queries in 5 classes, of random images: 28x28 with 64
filters and strides, or 84x84 in colour with 32 filters and pooling. A process of its
own each, since peak memory is the process's.

    python -m benchmarks.conv4 28 reptile fused
    python -m benchmarks.conv4 84 maml compiled
    python -m benchmarks.conv4 28 reptile fused --evaluate
"""

from __future__ import annotations

import argparse
import resource
import time
from functools import partial

# Before mlx.core: mlpeft loads a BLAS that MLX then uses.
from mlpeft import ReptileLearner, cross_entropy_loss

# isort: split
import numpy as np

from mlpeft.meta.algorithms import ALGORITHMS
from mlpeft.models.build import seeded
from mlpeft.models.conv4 import Conv4
from mlpeft.platform import peak_memory_bytes, set_blas_threads

CLASSES, SHOTS, QUERIES, TASKS = 5, 5, 15, 2


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("size", type=int, choices=(28, 84))
    parser.add_argument("algorithm", choices=sorted(ALGORITHMS))
    parser.add_argument("strategy", choices=("loop", "compiled", "fused"))
    parser.add_argument("--evaluate", action="store_true")
    parser.add_argument("--iters", type=int, default=3)
    args = parser.parse_args()
    set_blas_threads(1)
    small = args.size == 28
    with seeded(1):
        model = (
            Conv4(CLASSES, 28, 1, 64)
            if small
            else Conv4(CLASSES, 84, 3, 32, pooled=True)
        )
    kind = type("Learner", (ReptileLearner,), {"algorithm": args.algorithm})
    learner = kind(
        model,
        strategy=args.strategy,
        inner_lr=0.01,
        outer_lr=0.1,
        num_inner_steps=3 if args.algorithm == "maml" else 5,
    )
    rng = np.random.default_rng(0)

    def examples(many: int) -> tuple[np.ndarray, np.ndarray]:
        x = rng.random((many, *model.image_shape), np.float32)
        return x, (np.arange(many) % CLASSES).astype(np.int32)

    episodes = [(*examples(SHOTS), *examples(QUERIES)) for _ in range(TASKS)]
    step = learner.evaluate if args.evaluate else learner.meta_train_step
    run = partial(step, episodes, cross_entropy_loss)
    run()  # compiles
    compiling = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
    begun = time.process_time()
    for _ in range(args.iters):
        run()
    each = (time.process_time() - begun) / args.iters
    memory = peak_memory_bytes() / 1e6
    print(f"{1000 * each:.0f} ms, {memory:.0f} MB, compiled in {compiling:.1f} s")


if __name__ == "__main__":
    main()
