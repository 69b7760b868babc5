"""Logits of a language model at the tokens that count, and nowhere else.

A loss on completions looks at few of a text's tokens, and a head over 49,152 words
costs as much as eight layers of a small model. Hidden states are computed everywhere,
then those of the tokens that count are picked out, and the head sees no others.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import mlx.core as mx
import mlx.nn as nn
import numpy as np

from mlpeft.models.losses import IGNORED
from mlpeft.models.pretrained.module_proxy import ModuleProxy, parts_replaced
from mlpeft.models.pretrained.packing import bucket

if TYPE_CHECKING:
    from mlpeft.models.pretrained.packing import Prepared

LOSS_POSITIONS = "places"
"""Under this name they are with the tokens in what a model takes."""


def loss_positions(labels: np.ndarray) -> np.ndarray | None:
    """Where the labels of each row count, before some places where they do not.

    Args:
        labels: (n, length) integers, IGNORED where a token does not count.

    Returns:
        (n, width) int32, the same number of places for each row, a size that is reused;
        None if that is no fewer than all.
    """
    ignored = labels == IGNORED
    most = int((~ignored).sum(axis=1).max(initial=1))
    width = bucket(max(most, 1))
    if width >= labels.shape[1]:
        return None
    order = np.argsort(ignored, axis=1, kind="stable")
    return order[:, :width].astype(np.int32)


def at_loss_positions(labels: mx.array, x: Any) -> mx.array:
    """The labels that belong to a model's outputs for x.

    Args:
        labels: (n, length) integers, or any targets where x names no places.
        x: What the model takes.
    """
    if not isinstance(x, dict) or LOSS_POSITIONS not in x:
        return labels
    return mx.take_along_axis(labels, x[LOSS_POSITIONS], axis=1)


class _Picks(ModuleProxy):
    """Stands for a model without its head, and gives hidden states at places alone."""

    def __init__(self, inner: nn.Module, places: mx.array) -> None:
        super().__init__(inner)
        self._places = places

    def __call__(self, *args: Any, **kwargs: Any) -> mx.array:
        hidden: mx.array = self._stood_for(*args, **kwargs)
        return mx.take_along_axis(hidden, self._places[..., None], axis=1)


class _TakesLossPositions(nn.Module):
    """Goes before the class of an mlx-lm model."""

    takes_places = True

    def __call__(self, inputs: mx.array | Prepared, *args: Any, **kwargs: Any) -> Any:
        """(n, length) token numbers -> logits (n, length, vocabulary).

        Of `tokens` with `places` (n, width): (n, width, vocabulary).
        """
        call = super().__call__
        if not isinstance(inputs, dict):
            return call(inputs, *args, **kwargs)
        with parts_replaced(self, model=_Picks(self.model, inputs[LOSS_POSITIONS])):
            return call(inputs["tokens"], *args, **kwargs)


def take_loss_positions(model: nn.Module) -> None:
    """Let an mlx-lm model take places, if its kind can, in place.

    Args:
        model: A model as mlx-lm loads it; one whose head is no function of what its
            part `model` gives for each token is left as it is.
    """
    if not isinstance(getattr(model, "model", None), nn.Module):
        return
    kind = type(model)
    # The instance alone becomes another, as for virtual tokens.
    model.__class__ = type(kind.__name__, (_TakesLossPositions, kind), {})
    tokens = mx.zeros((1, 3), mx.int32)
    try:
        # Shapes are all that is asked for, so nothing is computed.
        whole = model(tokens).shape
        picked = model({"tokens": tokens, LOSS_POSITIONS: tokens[:, :2]}).shape
    except (TypeError, ValueError, AttributeError, IndexError):
        whole = picked = None
    if picked is None or (1, 2, *whole[2:]) != picked:
        model.__class__ = kind
