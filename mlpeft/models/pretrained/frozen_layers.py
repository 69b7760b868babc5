"""Lets mlx-lm's models run their frozen first layers once per episode.

No inner step changes the hidden states below the first layer that adapts. They are
computed once, row by row, and cached; the model then starts from them and skips these
layers.
"""

from __future__ import annotations

import inspect
from typing import Any

import mlx.core as mx
import mlx.nn as nn
import numpy as np
from mlx.utils import tree_flatten

from mlpeft.models.pretrained.module_proxy import ModuleProxy, submodules_replaced
from mlpeft.models.pretrained.packing import Batch, FeatureCache, Hidden, Prepared

_LAYER_ARGUMENTS = {"mask", "cache"}
"""What a layer may take beside hidden states: no outputs of other layers."""


class _SkippedLayer(ModuleProxy):
    """Returns given hidden states instead of running the layer."""

    def __init__(self, layer: nn.Module, hidden: mx.array) -> None:
        super().__init__(layer)
        self._hidden = hidden

    def __call__(self, x: mx.array, *_: Any, **__: Any) -> mx.array:
        return self._hidden.astype(x.dtype)


class _RecordedLayer(ModuleProxy):
    """Runs the layer and keeps its output."""

    output: Any = None

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        self.output = self._module(*args, **kwargs)
        return self.output


class _FrozenLayersMixin(nn.Module):
    """A mixin in front of the class of an mlx-lm model."""

    def __call__(self, inputs: mx.array | Batch, *args: Any, **kwargs: Any) -> Any:
        """(n, length) token ids, or the result of `prepare` -> logits."""
        call = super().__call__
        if not isinstance(inputs, dict) or "hidden" not in inputs:
            return call(inputs, *args, **kwargs)
        layers = self.model.layers
        count = first_adapted(self) or 0
        skipped = [_SkippedLayer(layer, inputs["hidden"]) for layer in layers[:count]]
        rest = {name: array for name, array in inputs.items() if name != "hidden"}
        with submodules_replaced(self.model, layers=[*skipped, *layers[count:]]):
            return call(rest if len(rest) > 1 else rest["tokens"], *args, **kwargs)

    def prepare(self, tokens: np.ndarray) -> Prepared | None:
        """Compute once, outside the inner loop, what inner steps do not change.

        Each row is computed alone, so its bits do not depend on the batch in which it
        first appears.

        Args:
            tokens: (n, length) integers.

        Returns:
            `tokens`, and `hidden` (n, length, dims) float32 below the first layer that
            adapts; None if the first layer or the embeddings adapt.
        """
        count = first_adapted(self)
        if not count:
            return None
        rows = [self._features(row, count, self._run_frozen_layers) for row in tokens]
        return {"tokens": tokens, "hidden": np.stack(rows)}

    def _run_frozen_layers(self, row: np.ndarray, count: int) -> Hidden:
        """(length,) token ids -> (length, dims) below layer `count`."""
        layers = self.model.layers
        last = _RecordedLayer(layers[count - 1])
        recorded = [*layers[: count - 1], last, *layers[count:]]
        with submodules_replaced(self.model, layers=recorded):
            # MLX is lazy: nothing after that layer is evaluated.
            super().__call__(mx.array(row)[None])
        return np.array(last.output[0].astype(mx.float32))


def enable_frozen_layers(model: nn.Module) -> None:
    """Add `prepare` to an mlx-lm model in place, if its architecture allows.

    Args:
        model: A model as mlx-lm loads it; left unchanged if its layers pass on more
            than hidden states.
    """
    inner = getattr(model, "model", {})
    layers = inner.get("layers")
    if not layers or not all(_takes_hidden_states_alone(layer) for layer in layers):
        return
    architecture = type(model)
    # Only this instance changes its class, as for virtual tokens.
    bases = (_FrozenLayersMixin, architecture)
    model.__class__ = type(architecture.__name__, bases, {})
    model._features = FeatureCache()  # noqa: SLF001 - of the mixin above


def first_adapted(model: nn.Module) -> int | None:
    """The first layer with trainable leaves; None if embeddings or a prompt adapt."""
    inner = model.model
    below = [child for name, child in inner.items() if name not in ("layers", "norm")]
    if any(_adapts(child) for child in below):
        return None
    for number, layer in enumerate(inner.layers):
        if _adapts(layer):
            return number
    return len(inner.layers)


def _adapts(child: object) -> bool:
    """Whether there are trainable leaves; a bare array is a soft prompt."""
    if isinstance(child, nn.Module):
        return bool(tree_flatten(child.trainable_parameters()))
    return isinstance(child, mx.array)


def _takes_hidden_states_alone(layer: nn.Module) -> bool:
    """Whether a layer's only input from other layers is hidden states."""
    arguments = list(inspect.signature(type(layer).__call__).parameters)
    return arguments[0] == "self" and _LAYER_ARGUMENTS.issuperset(arguments[2:])
