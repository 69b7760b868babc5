"""Lets mlx-lm's models run their frozen first layers once per episode.

No inner step changes the hidden states below the first layer that adapts. They are
computed once, row by row, and cached; the model then starts from them and skips these
layers.
"""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

import mlx.core as mx
import mlx.nn as nn
import numpy as np

from mlpeft.models.pretrained.module_proxy import ModuleProxy, submodules_replaced
from mlpeft.models.pretrained.packing import Batch, FeatureCache, Hidden, Prepared
from mlpeft.models.pretrained.trunk import Trunk, find_trunk, first_adapted

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

_LAYER_ARGUMENTS = {
    *("mask", "attention_mask", "attn_mask", "mamba_mask"),
    *("cache", "offset", "attn_scale"),
}
"""What a layer may take beside hidden states: no outputs of other layers."""


class _SkippedLayer(ModuleProxy):
    """Returns given hidden states instead of running the layer."""

    def __init__(self, layer: nn.Module, hidden: mx.array) -> None:
        super().__init__(layer)
        self._hidden = hidden

    def __call__(self, *args: Any, **kwargs: Any) -> mx.array:
        x = args[0] if args else next(iter(kwargs.values()))
        return self._hidden.astype(x.dtype)


class _RecordedLayer(ModuleProxy):
    """Runs the layer and keeps its output."""

    output: Any = None

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        self.output = self._module(*args, **kwargs)
        return self.output


class _FrozenLayersMixin(nn.Module):
    """A mixin in front of the class of an mlx-lm model."""

    trunk: Trunk

    def __call__(self, inputs: mx.array | Batch, *args: Any, **kwargs: Any) -> Any:
        """(n, length) token ids, or the result of `prepare` -> logits."""
        call = super().__call__
        if not isinstance(inputs, dict) or "hidden" not in inputs:
            return call(inputs, *args, **kwargs)
        layers = self.trunk.layers(self)
        count = first_adapted(self, self.trunk) or 0
        skipped = [_SkippedLayer(layer, inputs["hidden"]) for layer in layers[:count]]
        rest = {name: array for name, array in inputs.items() if name != "hidden"}
        with self._layers_replaced([*skipped, *layers[count:]]):
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
        count = first_adapted(self, self.trunk)
        if not count:
            return None
        rows = [self._features(row, count, self._run_frozen_layers) for row in tokens]
        return {"tokens": tokens, "hidden": np.stack(rows)}

    def _run_frozen_layers(self, row: np.ndarray, count: int) -> Hidden:
        """(length,) token ids -> (length, dims) below layer `count`."""
        layers = self.trunk.layers(self)
        last = _RecordedLayer(layers[count - 1])
        recorded = [*layers[: count - 1], last, *layers[count:]]
        with self._layers_replaced(recorded):
            # MLX is lazy: nothing after that layer is evaluated.
            super().__call__(mx.array(row)[None])
        return np.array(last.output[0].astype(mx.float32))

    def _layers_replaced(self, layers: list[Any]) -> AbstractContextManager[None]:
        trunk = self.trunk
        return submodules_replaced(trunk.module(self), **{trunk.blocks: layers})


def enable_frozen_layers(model: nn.Module) -> None:
    """Add `prepare` to an mlx-lm model in place, if its architecture allows.

    Args:
        model: A model as mlx-lm loads it; left unchanged if its layers pass on more
            than hidden states.
    """
    trunk = find_trunk(model)
    if trunk is None or not all(map(_takes_hidden_states_alone, trunk.layers(model))):
        return
    architecture = type(model)
    # Only this instance changes its class, as for virtual tokens.
    bases = (_FrozenLayersMixin, architecture)
    model.__class__ = type(architecture.__name__, bases, {"trunk": trunk})
    model._features = FeatureCache()  # noqa: SLF001 - of the mixin above


def _takes_hidden_states_alone(layer: nn.Module) -> bool:
    """Whether a layer's only input from other layers is hidden states."""
    arguments = list(inspect.signature(type(layer).__call__).parameters)
    return arguments[0] == "self" and _LAYER_ARGUMENTS.issuperset(arguments[2:])
