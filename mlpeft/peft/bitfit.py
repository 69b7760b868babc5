"""BitFit: only biases adapt.

References:
    Ben Zaken, Goldberg and Ravfogel, "BitFit", 2021, arXiv 2106.10199.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlpeft.errors import ConfigError
from mlpeft.peft.targets import linear_layers

if TYPE_CHECKING:
    import mlx.nn as nn

    from mlpeft.config import PeftSection

DEFAULT_KEYS = ("*",)
"""The bias of every linear layer."""


def apply(model: nn.Module, section: PeftSection) -> None:
    """Let the biases of the chosen linear layers adapt.

    Raises:
        ConfigError: If no linear layer is chosen, or none has a bias.
    """
    chosen = linear_layers(model, section.keys or DEFAULT_KEYS, section.num_layers)
    with_bias = [layer for layer in chosen.values() if "bias" in layer]
    if not with_bias:
        raise ConfigError(
            "peft.method: bitfit needs biases, but the chosen linear layers have none; "
            "take lora"
        )
    for layer in with_bias:
        layer.unfreeze(recurse=False, keys="bias")


def merge(model: nn.Module) -> None:
    """Nothing to do: the biases are the layers' own."""
