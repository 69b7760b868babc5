"""BitFit: only biases adapt.

References:
    Ben Zaken, Goldberg and Ravfogel, "BitFit", 2021, arXiv 2106.10199.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import mlx.nn as nn

from mlpeft.errors import ConfigError
from mlpeft.peft.method import Method
from mlpeft.peft.targets import linear_layers

if TYPE_CHECKING:
    from mlpeft.config import PeftSection

DEFAULT_KEYS = ("*",)
"""The bias of every linear layer."""


class BitFit(Method):
    """Trains the biases of the chosen linear layers; adds no leaves."""

    name = "bitfit"

    def apply(self, model: nn.Module, section: PeftSection) -> None:
        """Unfreeze the biases, except those of quantised layers.

        Raises:
            ConfigError: If no linear layer is chosen, or none has such a bias.
        """
        chosen = linear_layers(model, section.keys, DEFAULT_KEYS, section.num_layers)
        with_bias = [
            layer
            for layer in chosen.values()
            if "bias" in layer and not isinstance(layer, nn.QuantizedLinear)
        ]
        if not with_bias:
            raise ConfigError(
                "peft.method: bitfit needs biases, but the chosen linear layers have "
                "none that can adapt (a quantised layer's are frozen); use lora"
            )
        for layer in with_bias:
            layer.unfreeze(recurse=False, keys="bias")
