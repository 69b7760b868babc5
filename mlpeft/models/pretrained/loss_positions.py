"""Logits of a language model only where the loss needs them.

A loss on completions uses few of a text's tokens, and a head over 49,152 words costs as
much as eight layers of a small model. Hidden states are computed for every token; the
head then gets only those at positions with a label.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import mlx.core as mx
import mlx.nn as nn
import numpy as np

from mlpeft.models.losses import IGNORED
from mlpeft.models.pretrained.module_proxy import ModuleProxy, submodules_replaced
from mlpeft.models.pretrained.packing import bucket
from mlpeft.models.pretrained.trunk import Trunk, find_trunk

if TYPE_CHECKING:
    from mlpeft.models.pretrained.packing import Batch

LOSS_POSITIONS = "loss_positions"
"""Their name in a batch, beside the tokens."""


def loss_positions(labels: np.ndarray) -> np.ndarray | None:
    """The labelled positions of each row, padded with positions without a label.

    Args:
        labels: (n, length) integers, IGNORED where a token has no loss.

    Returns:
        (n, width) int32, width being one of few sizes so that compiled code is reused;
        None if width would be length.
    """
    ignored = labels == IGNORED
    largest = int((~ignored).sum(axis=1).max(initial=1))
    width = bucket(max(largest, 1))
    if width >= labels.shape[1]:
        return None
    order = np.argsort(ignored, axis=1, kind="stable")
    return order[:, :width].astype(np.int32)


def at_loss_positions(labels: mx.array, x: Any) -> mx.array:
    """The labels that belong to a model's outputs for x.

    Args:
        labels: (n, length) integers, or any targets if x has no loss positions.
        x: The model's input.
    """
    if not isinstance(x, dict) or LOSS_POSITIONS not in x:
        return labels
    return mx.take_along_axis(labels, x[LOSS_POSITIONS], axis=1)


class _SelectedStates(ModuleProxy):
    """Wraps a model without its head; keeps the hidden states of some positions."""

    def __init__(self, inner: nn.Module, positions: mx.array) -> None:
        super().__init__(inner)
        self._positions = positions

    def __call__(self, *args: Any, **kwargs: Any) -> mx.array:
        hidden: mx.array = self._module(*args, **kwargs)
        return mx.take_along_axis(hidden, self._positions[..., None], axis=1)


class _LossPositionsMixin(nn.Module):
    """A mixin in front of the class of an mlx-lm model."""

    takes_loss_positions = True
    trunk: Trunk

    def __call__(self, inputs: mx.array | Batch, *args: Any, **kwargs: Any) -> Any:
        """(n, length) token ids -> logits (n, length, vocabulary).

        For `tokens` with `loss_positions` (n, width): (n, width, vocabulary).
        """
        call = super().__call__
        if not isinstance(inputs, dict):
            return call(inputs, *args, **kwargs)
        parent, name = self.trunk.parent(self)
        selected = _SelectedStates(parent[name], inputs[LOSS_POSITIONS])
        with submodules_replaced(parent, **{name: selected}):
            return call(inputs["tokens"], *args, **kwargs)


def enable_loss_positions(model: nn.Module) -> None:
    """Let an mlx-lm model accept loss positions, in place, if its architecture allows.

    Args:
        model: A model as mlx-lm loads it; left unchanged if its head is not a function
            of each token's output of its trunk.
    """
    trunk = find_trunk(model)
    if trunk is None:
        return
    architecture = type(model)
    # Only this instance changes its class, as for virtual tokens.
    bases = (_LossPositionsMixin, architecture)
    model.__class__ = type(architecture.__name__, bases, {"trunk": trunk})
    tokens = mx.zeros((1, 3), mx.int32)
    try:
        # MLX is lazy: reading shapes computes nothing.
        every = model(tokens).shape
        selected = model({"tokens": tokens, LOSS_POSITIONS: tokens[:, :2]}).shape
    except (TypeError, ValueError, AttributeError, IndexError):
        every = selected = None
    if selected is None or (1, 2, *every[2:]) != selected:
        model.__class__ = architecture
