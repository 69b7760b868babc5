"""BOIL: the inner steps change the body alone.

`body <- body - alpha dL/dbody`, the head stays theta's; the meta-gradient, MAML's, is
of both.

References:
    Oh, Yoo, Kim and Yun, "BOIL: Towards Representation Change for Few-shot Learning",
    2021, arXiv 2008.08882, section 3.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Self

from mlx.utils import tree_flatten

from mlpeft.errors import ConfigError
from mlpeft.meta.heads import SplitAtHead

if TYPE_CHECKING:
    import mlx.nn as nn


@dataclass(frozen=True)
class BodyOnly(SplitAtHead):
    """All but the head adapts."""

    algorithm: ClassVar[str] = "boil"

    def bound(self, model: nn.Module) -> Self:
        """With the model's head.

        Raises:
            ConfigError: As `head_prefixes`, or if the head is all that can learn.
        """
        bound = super().bound(model)
        leaves = [name for name, _ in tree_flatten(model.trainable_parameters())]
        if not any(bound.adapts(name) for name in leaves):
            raise ConfigError(
                "meta_learning.algorithm: boil adapts all but the head, and a "
                f"{type(model).__name__} has nothing else that learns; take reptile or "
                "maml"
            )
        return bound

    def adapts(self, name: str) -> bool:
        """Whether a leaf is the model's, but not the head's."""
        return super().adapts(name) and not name.startswith(self.head)
