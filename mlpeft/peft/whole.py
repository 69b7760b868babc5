"""Methods that add no leaves: they train the head alone, or whole layers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlpeft.peft.method import Method
from mlpeft.peft.targets import chosen_modules

if TYPE_CHECKING:
    import mlx.nn as nn

    from mlpeft.config import PeftSection


class Head(Method):
    """Trains only the modules in `peft.train_also`."""

    name = "head"


class Full(Method):
    """Trains every parameter of the chosen layers.

    With all layers, the default, this equals `none`. Quantised layers stay frozen, as
    MLX has no gradient for them.
    """

    name = "full"

    def unfrozen(self, model: nn.Module, section: PeftSection) -> frozenset[str]:
        """The modules chosen by `keys` and `num_layers`, and their submodules.

        Raises:
            ConfigError: If there is none.
        """
        return chosen_modules(model, section.keys, section.num_layers)
