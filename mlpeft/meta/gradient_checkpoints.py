"""Gradient checkpointing: layers keep their inputs alone, and are computed again.

A gradient needs what every layer computed on the way. Here only what goes from layer to
layer is kept; the backward pass computes the inside of each again. That costs one more
forward pass and saves most of the memory of a deep model.

References:
    Chen et al., "Training Deep Nets with Sublinear Memory Cost", 2016,
    arXiv 1604.06174.
"""

from __future__ import annotations

import re
from contextlib import contextmanager
from typing import TYPE_CHECKING

import mlx.core as mx

from mlpeft.errors import ConfigError
from mlpeft.peft.targets import BLOCKS

if TYPE_CHECKING:
    from collections.abc import Iterator

    import mlx.nn as nn

    from mlpeft.meta.dropout import Dropouts

_LAYER = re.compile(rf"(?:^|\.)(?:{'|'.join(BLOCKS)})\.\d+$")


class GradientCheckpoints:
    """The layers of a model that are computed again in the backward pass.

    Args:
        model: Any module whose blocks are named `layers.0`, `layers.1`, ...
        dropouts: The model's dropout: a layer is computed again with the same masks.

    Raises:
        ConfigError: If the model has no such blocks.
    """

    def __init__(self, model: nn.Module, dropouts: Dropouts) -> None:
        self._dropouts = dropouts
        found = {p: m for p, m in model.named_modules() if _LAYER.search(p)}
        self._layers = [
            layer
            for path, layer in sorted(found.items())
            if not any(path.startswith(f"{other}.") for other in found)
        ]
        if not self._layers:
            raise ConfigError(
                "compute.gradient_checkpointing: this model has no blocks named "
                "layers.0, layers.1, ... to compute again; set false"
            )

    @contextmanager
    def active(self) -> Iterator[None]:
        """Have the layers checkpointed, and after it be what they were."""
        kinds = [type(layer) for layer in self._layers]
        try:
            # The instance alone becomes another: its leaves keep their paths.
            for layer, kind in zip(self._layers, kinds, strict=True):
                layer.__class__ = self._checkpointed(kind)
            yield
        finally:
            for layer, kind in zip(self._layers, kinds, strict=True):
                layer.__class__ = kind

    def _checkpointed(self, kind: type[nn.Module]) -> type[nn.Module]:
        dropouts = self._dropouts

        def call(layer: nn.Module, *args: object, **kwargs: object) -> object:
            if kwargs.get("cache") is not None:
                raise ConfigError(
                    "compute.gradient_checkpointing: a language model with a prefix "
                    "keeps it in caches, which change when a layer is computed again; "
                    "set false, or take another peft.method"
                )
            key = dropouts.key

            def compute(
                leaves: dict[str, object], *args: object, **kwargs: object
            ) -> object:
                layer.update(leaves)
                # By the backward pass the key of the step is gone.
                with dropouts.drawing(key):
                    return kind.__call__(layer, *args, **kwargs)

            return mx.checkpoint(compute)(layer.trainable_parameters(), *args, **kwargs)

        return type(kind.__name__, (kind,), {"__call__": call})
