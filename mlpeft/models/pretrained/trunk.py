"""The trunk of an mlx-lm model: the module whose list of blocks the hidden states pass.

mlx-lm's models keep it in different places: `model`, `transformer`, `backbone`,
`language_model.model`. Every model has a property `layers`, which tells.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import mlx.nn as nn
from mlx.utils import tree_flatten

AFTER = (
    *("norm", "final_norm", "final_layernorm", "final_layer_norm", "norm_f", "ln_f"),
    *("lm_head", "head", "output", "embed_out", "score"),
)
"""Names of the modules that see the last block's output."""


class Trunk(NamedTuple):
    """Where the trunk is in a model.

    Attributes:
        path: Of the trunk: "model", "language_model.model".
        blocks: The name of its list of blocks: "layers", "h".
    """

    path: str
    blocks: str

    def module(self, model: nn.Module) -> nn.Module:
        """The trunk."""
        return descend(model, self.path)

    def layers(self, model: nn.Module) -> list[nn.Module]:
        """Its blocks."""
        layers: list[nn.Module] = self.module(model)[self.blocks]
        return layers

    def parent(self, model: nn.Module) -> tuple[nn.Module, str]:
        """The module that contains the trunk, and its name there."""
        path, _, name = self.path.rpartition(".")
        return descend(model, path), name


def find_trunk(model: nn.Module) -> Trunk | None:
    """The trunk of a model; None if its blocks are not in one list."""
    layers = getattr(model, "layers", None)
    if not isinstance(layers, list) or not layers:
        inner = getattr(model, "model", None)
        layers = inner.get("layers") if isinstance(inner, nn.Module) else None
    if not layers:
        return None
    wanted = [id(layer) for layer in layers]
    for path, module in model.named_modules():
        for name, child in module.items():
            if path and isinstance(child, list):
                held = [id(layer) for layer in child]
                if held == wanted:
                    return Trunk(path, name)
    return None


def descend(model: nn.Module, path: str) -> nn.Module:
    """The submodule at a dotted path without numbers; "": the model."""
    module: Any = model
    for name in path.split(".") if path else ():
        module = module[name]
    found: nn.Module = module
    return found


def first_adapted(model: nn.Module, trunk: Trunk) -> int | None:
    """The first block with trainable leaves; None if something before it adapts.

    A leaf that is neither in a block nor in a module known to come after them may come
    before: embeddings, or a soft prompt.
    """
    layers = trunk.layers(model)
    inside = f"{trunk.path}.{trunk.blocks}."
    first = len(layers)
    for path, _ in tree_flatten(model.trainable_parameters()):
        if path.startswith(inside):
            number = int(path.removeprefix(inside).partition(".")[0])
            first = min(first, number)
        elif not any(name in AFTER for name in path.split(".")):
            return None
    return first
