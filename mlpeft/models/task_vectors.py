"""What a task's examples are to a model, as one vector: features or gradients."""

from __future__ import annotations

from typing import Any

import mlx.core as mx
import mlx.nn as nn
import numpy as np
from mlx.utils import tree_flatten

from mlpeft.errors import ConfigError
from mlpeft.models.losses import cross_entropy_loss, mse_loss


def features(model: Any, x: np.ndarray, y: np.ndarray, num_classes: int) -> np.ndarray:
    """`mean over examples of f(x) y^T`, flattened.

    Args:
        model: f is what it gives its last layer, else its outputs; None: the inputs.
        x: (n, ...) inputs.
        y: (n,) labels, taken one-hot, or (n, outputs) targets.
        num_classes: Of the labels.

    Raises:
        ConfigError: If y is tokens.
    """
    if model is None:
        given = np.asarray(x, np.float64).reshape(len(x), -1)
    elif hasattr(model, "embed"):
        given = np.asarray(model.embed(mx.array(x)), np.float64)
    else:
        given = np.asarray(model(mx.array(x)), np.float64)
    if np.issubdtype(np.asarray(y).dtype, np.floating):
        targets = np.asarray(y, np.float64).reshape(len(y), -1)
    elif np.ndim(y) == 1:
        targets = np.eye(max(num_classes, int(np.max(y)) + 1))[y]
    else:
        raise ConfigError(
            "method: features needs a label or targets for each example, and these are "
            "completions; take gradient or fisher"
        )
    return (given.T @ targets / len(x)).ravel().astype(np.float32)


def slopes(
    model: nn.Module, x: np.ndarray, y: np.ndarray, *, per_example: bool
) -> np.ndarray:
    """The gradient of the mean loss, flattened in the order of the leaves' names.

    Args:
        model: Its trainable parameters are differentiated.
        x: (n, ...) inputs.
        y: Labels, or float targets of a regression.
        per_example: The mean of the squares of each example's gradient instead.
    """
    floating = np.issubdtype(np.asarray(y).dtype, np.floating)
    loss_fn = mse_loss if floating else cross_entropy_loss

    def loss(x: mx.array, y: mx.array) -> mx.array:
        return loss_fn(model(x), y)

    gradient = nn.value_and_grad(model, loss)

    def flat(x: mx.array, y: mx.array) -> np.ndarray:
        leaves = dict(tree_flatten(gradient(x, y)[1]))
        parts = [np.asarray(leaves[name], np.float32) for name in sorted(leaves)]
        return np.concatenate([part.ravel() for part in parts])

    inputs, targets = mx.array(x), mx.array(y)
    if not per_example:
        return flat(inputs, targets)
    squares = [
        flat(inputs[i : i + 1], targets[i : i + 1]) ** 2 for i in range(len(inputs))
    ]
    return np.asarray(np.mean(squares, axis=0))
