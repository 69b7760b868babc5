"""Lets mlx-lm's models compute their frozen first layers once an episode.

No inner step changes what the layers below the first adapted one make of a text. It is
computed once, row by row and remembered, and given to the model in place of the tokens'
way through these layers.
"""

from __future__ import annotations

import inspect
from typing import Any

import mlx.core as mx
import mlx.nn as nn
import numpy as np
from mlx.utils import tree_flatten

from mlpeft.models.pretrained.module_proxy import ModuleProxy, parts_replaced
from mlpeft.models.pretrained.packing import Features, Hidden, Prepared

_OTHERS = {"mask", "cache"}
"""What a layer may take beside hidden states: nothing of it is another layer's."""


class _Known(ModuleProxy):
    """Stands for a layer whose outputs are known, or not looked at."""

    def __init__(self, layer: nn.Module, hidden: mx.array) -> None:
        super().__init__(layer)
        self._hidden = hidden

    def __call__(self, x: mx.array, *_: Any, **__: Any) -> mx.array:
        return self._hidden.astype(x.dtype)


class _Watched(ModuleProxy):
    """Stands for a layer whose outputs are wanted."""

    output: Any = None

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        self.output = self._stood_for(*args, **kwargs)
        return self.output


class _PreparesTexts(nn.Module):
    """Goes before the class of an mlx-lm model."""

    def __call__(self, inputs: mx.array | Prepared, *args: Any, **kwargs: Any) -> Any:
        """(n, length) token numbers, or what `prepare` made of them -> logits."""
        call = super().__call__
        if not isinstance(inputs, dict) or "hidden" not in inputs:
            return call(inputs, *args, **kwargs)
        layers = self.model.layers
        count = first_adapted(self) or 0
        known = [_Known(layer, inputs["hidden"]) for layer in layers[:count]]
        rest = {name: part for name, part in inputs.items() if name != "hidden"}
        with parts_replaced(self.model, layers=[*known, *layers[count:]]):
            return call(rest if len(rest) > 1 else rest["tokens"], *args, **kwargs)

    def prepare(self, tokens: np.ndarray) -> Prepared | None:
        """What does not change while theta does: computed once, outside the inner loop.

        Each row is computed alone: its bits do not hang on the batch that it is first
        met in.

        Args:
            tokens: (n, length) integers.

        Returns:
            `tokens`, and `hidden` (n, length, dims) float32 below the first layer that
            adapts; None where that is the first, or embeddings adapt.
        """
        count = first_adapted(self)
        if not count:
            return None
        rows = [self._features(row, count, self._frozen) for row in tokens]
        return {"tokens": tokens, "hidden": np.stack(rows)}

    def _frozen(self, row: np.ndarray, count: int) -> Hidden:
        """(length,) tokens -> (length, dims) below layer `count`."""
        layers = self.model.layers
        watched = _Watched(layers[count - 1])
        watching = [*layers[: count - 1], watched, *layers[count:]]
        with parts_replaced(self.model, layers=watching):
            # Nothing after that layer is evaluated.
            super().__call__(mx.array(row)[None])
        return np.array(watched.output[0].astype(mx.float32))


def prepare_texts(model: nn.Module) -> None:
    """Let an mlx-lm model prepare texts, if its kind can, in place.

    Args:
        model: A model as mlx-lm loads it; one whose layers hand on more than hidden
            states is left as it is.
    """
    inner = getattr(model, "model", {})
    layers = inner.get("layers")
    if not layers or not all(_is_plain(layer) for layer in layers):
        return
    kind = type(model)
    # The instance alone becomes another, as for virtual tokens.
    model.__class__ = type(kind.__name__, (_PreparesTexts, kind), {})
    model._features = Features()  # noqa: SLF001 - it is of the class above


def first_adapted(model: nn.Module) -> int | None:
    """The first layer with leaves that adapt; None if embeddings or a prompt do."""
    inner = model.model
    below = [part for name, part in inner.items() if name not in ("layers", "norm")]
    if any(_adapts(part) for part in below):
        return None
    for number, layer in enumerate(inner.layers):
        if _adapts(layer):
            return number
    return len(inner.layers)


def _adapts(part: Any) -> bool:
    """Whether there are leaves that adapt; a leaf by itself is a soft prompt."""
    if isinstance(part, nn.Module):
        return bool(tree_flatten(part.trainable_parameters()))
    return isinstance(part, mx.array)


def _is_plain(layer: nn.Module) -> bool:
    """Whether a layer takes hidden states, and beside them what is no layer's."""
    taken = list(inspect.signature(type(layer).__call__).parameters)
    return taken[0] == "self" and _OTHERS.issuperset(taken[2:])
