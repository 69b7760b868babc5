"""Methods without leaves of their own: the head alone, or whole layers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlpeft.peft.method import Method
from mlpeft.peft.targets import chosen_modules

if TYPE_CHECKING:
    import mlx.nn as nn

    from mlpeft.config import PeftSection


class Head(Method):
    """Nothing adapts but what `peft.train_also` names."""

    name = "head"


class Full(Method):
    """Every parameter of the chosen layers adapts.

    With all layers chosen, the default, this is what `none` does. Quantised layers stay
    frozen, as MLX has no gradient for them.
    """

    name = "full"

    def keeps(self, model: nn.Module, section: PeftSection) -> frozenset[str]:
        """The modules that `keys` and `num_layers` choose, and all inside of them.

        Raises:
            ConfigError: If there is none.
        """
        return chosen_modules(model, section.keys, section.num_layers)
