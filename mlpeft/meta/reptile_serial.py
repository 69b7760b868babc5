"""Serial Reptile: theta moves after each task, and the next one starts from there.

`theta <- theta + outer_lr (theta_task - theta)`, task by task within a shard; the
shards of a round go side by side, and theta becomes the mean of where they end. With
one shard a round (the default) this is the paper's algorithm 1; with shards of one task
it is the batched version.

References:
    Nichol, Achiam and Schulman, "On First-Order Meta-Learning Algorithms", 2018,
    arXiv 1803.02999, algorithm 1.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mlpeft.params import MlxTree


def after_task(theta: MlxTree, adapted: MlxTree, outer_lr: float) -> MlxTree:
    """Theta after one task.

    Args:
        theta: What the task started from.
        adapted: What the task made of it.
        outer_lr: The step size, of this meta-iteration.
    """
    return {
        name: leaf + outer_lr * (adapted[name] - leaf) for name, leaf in theta.items()
    }
