"""Prefix tuning: learned keys and values in front of those of each attention.

The leaves are the keys and values themselves. The paper computes them by a perceptron
from a smaller table; that reparametrisation is for long training runs.

References:
    Li and Liang, "Prefix-Tuning: Optimizing Continuous Prompts for Generation", 2021,
    arXiv 2101.00190.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, runtime_checkable

import mlx.core as mx

from mlpeft.errors import ConfigError
from mlpeft.peft.method import Method
from mlpeft.peft.targets import block, last_blocks

if TYPE_CHECKING:
    import mlx.nn as nn

    from mlpeft.config import PeftSection

START_STD = 0.02
"""Standard deviation of the keys and values at the start."""


@runtime_checkable
class TakesPrefix(Protocol):
    """An attention that accepts a prefix.

    Once `apply` has set its attributes `prefix_keys` and `prefix_values`, arrays
    (num_virtual_tokens, dims), its call must attend to them.
    """

    prefix_dims: int
    """Numbers in one token's keys, and in its values, over all heads."""


class Prefix(Method):
    """Adds `prefix_keys` and `prefix_values` to each attention that accepts them."""

    name = "prefix"
    merges = False
    hf_type = "PREFIX_TUNING"

    def apply(self, model: nn.Module, section: PeftSection) -> None:
        """Add the prefixes to the attentions of the chosen layers.

        Raises:
            ConfigError: If no attention accepts one.
        """
        attentions = {
            path: module
            for path, module in sorted(model.named_modules())
            if isinstance(module, TakesPrefix)
        }
        last = last_blocks(attentions, section.num_layers)
        chosen = [
            module
            for path, module in attentions.items()
            if last is None or block(path) in last
        ]
        if not chosen:
            raise ConfigError(
                "peft.method: prefix needs a model whose attentions accept a prefix "
                "(mlpeft.peft.prefix.TakesPrefix), such as backbone encoder or "
                "causal_lm; use lora"
            )
        for module in chosen:
            shape = (section.num_virtual_tokens, module.prefix_dims)
            for name in ("prefix_keys", "prefix_values"):
                setattr(module, name, START_STD * mx.random.normal(shape))
