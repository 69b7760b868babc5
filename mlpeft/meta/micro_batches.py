"""Gradient accumulation: an inner step's batch, computed a few examples at a time.

The gradient of a mean is the mean of the gradients of its parts, each with its share of
what the mean is over: examples, or the tokens of completions that count. One part's
activations are in memory at a time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import mlx.core as mx

from mlpeft.models.losses import terms

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from mlpeft.meta.functional import ModelInput
    from mlpeft.params import MlxTree

    Gradient: TypeAlias = Callable[
        [MlxTree, ModelInput, mx.array, mx.array | None], tuple[mx.array, MlxTree]
    ]
    """`(params, x, y, key) -> (loss, gradients)` of one batch."""


def mean_gradient(
    gradient: Gradient,
    params: MlxTree,
    pieces: Sequence[ModelInput],
    y: mx.array,
    size: int,
    key: mx.array | None = None,
) -> tuple[mx.array, MlxTree]:
    """Loss and gradient of a batch from those of its micro-batches.

    Args:
        gradient: `(params, x, y, key) -> (loss, gradients)`, both of a mean.
        params: Where to take them.
        pieces: The inputs of each micro-batch, as the model takes them.
        y: (n, ...) targets of all.
        size: Examples of a micro-batch; the last may have fewer.
        key: For the masks of dropout: each micro-batch has its own.
    """
    labels = [y[i * size : (i + 1) * size] for i in range(len(pieces))]
    keys = [None] * len(pieces) if key is None else mx.random.split(key, len(pieces))
    counts = [terms(part) for part in labels]
    total = mx.maximum(sum(counts[1:], counts[0]), 1.0)
    names = sorted(params)
    loss = mx.array(0.0)
    grads: MlxTree = {}
    for x, part, count, own in zip(pieces, labels, counts, keys, strict=True):
        start = params
        if grads:
            # Not before the last one is done: MLX would compute them side by side.
            done = list(grads.values())
            leaves = mx.depends([params[name] for name in names], done)
            start = dict(zip(names, leaves, strict=True))
        one, change = gradient(start, x, part, own)
        share = count / total
        loss = loss + share * one
        grads = {
            name: share * leaf + grads[name] if grads else share * leaf
            for name, leaf in change.items()
        }
    return loss, grads
