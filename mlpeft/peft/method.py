"""What every PEFT method is: few leaves beside, or of, a frozen model."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import mlx.nn as nn

from mlpeft.peft.linear import Linear, mergeable
from mlpeft.peft.targets import replace

if TYPE_CHECKING:
    from mlpeft.config import PeftSection


class Method:
    """A way to adapt a frozen model by few leaves.

    `wrap` freezes the model, then `apply` makes the method's leaves, which are the
    trainable ones from then on. The defaults are those of a method without layers of
    its own.
    """

    name: ClassVar[str]
    """As `peft.method` has it."""
    merges: ClassVar[bool] = True
    """Whether a plain model can compute the same, see `merge`."""

    def keeps(self, model: nn.Module, section: PeftSection) -> frozenset[str]:
        """Paths of modules that are not frozen; their own leaves stay trainable."""
        return frozenset()

    def apply(self, model: nn.Module, section: PeftSection) -> None:
        """Make the method's leaves in a frozen model.

        Raises:
            ConfigError: If the model has nothing that the method could change.
        """

    def merge(self, model: nn.Module) -> None:
        """Fold the leaves into the base: the same function, without the method."""
        replace(
            model,
            {
                path: module.merged()
                for path, module in model.named_modules()
                if mergeable(module)
            },
        )


class AdaptedLinear(nn.Module):
    """A frozen linear layer, and the leaves that a method puts beside it.

    A subclass that has an equivalent plain layer says so by a method `merged()`.

    Args:
        linear: The layer to change; frozen here.
    """

    def __init__(self, linear: Linear) -> None:
        super().__init__()
        self.linear = linear
        self.linear.freeze()
