"""Meta-iterations a second of mlpeft, on the workloads that its peers are timed on.

The workloads, their initial parameters, their episodes and the clock are those of the
peers' `common.py`, so that the figures can be held side by side; ours go through
`ReptileLearner.meta_train_step`, as a user's do. One JSON line on standard output.

    python -m benchmarks.meta --peers DIR W1 --hidden 64 --iters 2000
    python -m benchmarks.meta --peers DIR W2 --threads 2 --iters 60
    python -m benchmarks.meta --peers DIR W3 --meta-batch 32 --check 1
    python -m benchmarks.meta --peers DIR W1 --chunk 50 --strategy fused
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np

    from mlpeft import ReptileLearner

LEARNERS: dict[str, dict[str, Any]] = {
    "W1": {"inner_lr": 0.01, "outer_lr": 0.1, "num_inner_steps": 5},
    "W2": {
        "inner_lr": 1e-3,
        "outer_lr": 1.0,
        "num_inner_steps": 5,
        "inner_optimizer": "adam",
        "inner_batch_size": 10,
    },
    "W3": {"inner_lr": 0.02, "outer_lr": 0.1, "num_inner_steps": 32},
}


def main() -> None:
    own = argparse.ArgumentParser(add_help=False)
    own.add_argument("--peers", type=Path, required=True)
    own.add_argument("--strategy", help="compute.strategy; left out: auto")
    own.add_argument("--chunk", type=int, default=1, help="meta-iterations a call")
    given, sys.argv[1:] = own.parse_known_args()
    sys.path.insert(0, str(given.peers))
    common = importlib.import_module("common")
    args = common.cli("mlpeft")
    os.environ["OMP_NUM_THREADS"] = str(args.threads)  # before any BLAS is loaded

    import mlpeft
    from mlpeft.platform import load_blas, set_blas_threads

    set_blas_threads(args.threads)
    model, theta = _model(args, common)
    learner = mlpeft.ReptileLearner(
        model, **LEARNERS[args.workload], strategy=given.strategy
    )
    loss_fn = mlpeft.mse_loss if args.workload == "W3" else mlpeft.cross_entropy_loss
    episodes = _batched_episodes if args.workload == "W2" else _episodes
    meta_batches = common.pool(args)

    def step(iteration: int) -> float:
        turns = range(iteration, iteration + given.chunk)
        drawn = [meta_batches[turn % len(meta_batches)] for turn in turns]
        made = [one for meta_batch in drawn for one in episodes(learner, meta_batch)]
        if given.chunk == 1:
            losses = learner.meta_train_step(made, loss_fn)
        else:
            losses = learner.meta_train_steps(made, loss_fn, given.chunk)
        return losses["support_loss" if args.workload == "W2" else "query_loss"]

    extra = {"blas": load_blas().name, "strategy": given.strategy or "auto"}
    common.drive("mlpeft", args, step, theta, chunk=given.chunk, extra=extra)


def _model(args: argparse.Namespace, common: Any) -> tuple[Any, Callable[[], Any]]:
    """The workload's model with the peers' initial parameters, and a way to read them.

    Leaves are read back in the peers' order and layout, for the checksum.
    """
    import mlx.core as mx
    import numpy as np

    import mlpeft

    if args.workload == "W2":
        model = mlpeft.Conv4(num_classes=5)
        leaves = [
            (f"blocks.{block}.{name}", 4 * block + position)
            for block in range(4)
            for name, position in (("weight", 0), ("gamma", 2), ("beta", 3))
        ]
        leaves += [("head.weight", 16), ("head.bias", 17)]
        start = common.init_conv4()
    else:
        inputs, hidden, _, outputs = common.mlp_sizes(args)
        activation = "relu" if args.workload == "W1" else "tanh"
        model = mlpeft.SimpleClassifier(
            inputs, hidden, outputs, num_layers=2, activation=activation
        )
        leaves = [
            (f"layers.{layer}.{name}", 2 * layer + position)
            for layer in range(3)
            for name, position in (("weight", 0), ("bias", 1))
        ]
        start = common.init_mlp(common.mlp_sizes(args))

    def ours(leaf: np.ndarray) -> np.ndarray:  # (O, I, kh, kw) -> (O, kh, kw, I)
        return leaf.transpose(0, 2, 3, 1) if leaf.ndim == 4 else leaf

    def theirs(leaf: np.ndarray) -> np.ndarray:
        return leaf.transpose(0, 3, 1, 2) if leaf.ndim == 4 else leaf

    model.load_weights([(name, mx.array(ours(start[at]))) for name, at in leaves])

    def theta() -> list[np.ndarray]:
        # Where the peers have a leaf that we have not, the bias of a convolution that
        # batch norm takes away again, theirs stays at its initial zeros or nearly so.
        current = list(start)
        from mlx.utils import tree_flatten

        parameters = dict(tree_flatten(model.parameters()))
        for name, at in leaves:
            current[at] = theirs(np.array(parameters[name]))
        return current

    return model, theta


def _episodes(_: ReptileLearner, meta_batch: tuple[np.ndarray, ...]) -> list[Any]:
    """One (support_x, support_y, query_x, query_y) a task."""
    import numpy as np

    return [
        tuple(z.astype(np.int32) if z.dtype == np.int64 else z for z in task)
        for task in zip(*meta_batch, strict=True)
    ]


def _batched_episodes(
    learner: ReptileLearner, meta_batch: tuple[np.ndarray, ...]
) -> list[Any]:
    """Support sets in such an order that the inner batches are the peers'.

    The learner cuts a shuffled support set into batches; the images are laid out so
    that its shuffle brings them into the peers' order. No queries, as theirs.
    """
    import numpy as np

    from mlpeft.seeds import Purpose, generator

    episodes = []
    for index, (x, y) in enumerate(zip(*meta_batch, strict=True)):
        rng = partial(generator, learner.seed, Purpose.BATCH, learner.iteration, index)
        order = learner.inner.batches(x.shape[0] * x.shape[1], rng)
        support_x = np.empty((order.size, 28, 28, 1), np.float32)
        support_y = np.empty(order.size, np.int32)
        support_x[order], support_y[order] = x[..., None], y
        episodes.append((support_x, support_y, support_x[:0], support_y[:0]))
    return episodes


if __name__ == "__main__":
    main()
