"""BOIL: the inner steps change the body alone.

`body <- body - alpha dL/dbody`, the head stays theta's; the meta-gradient, MAML's, is
of both.

References:
    Oh, Yoo, Kim and Yun, "BOIL: Towards Representation Change for Few-shot Learning",
    2021, arXiv 2008.08882, section 3.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Self

from mlpeft.meta.adaptation import Selective
from mlpeft.meta.heads import head_prefixes

if TYPE_CHECKING:
    import mlx.nn as nn

    from mlpeft.config import MetaLearningSection


@dataclass(frozen=True)
class BodyOnly(Selective):
    """All but the head adapts.

    Attributes:
        named: `meta_learning.head_leaves`.
        head: What the names of the head's leaves begin with, once a model is known.
    """

    named: tuple[str, ...] | None = None
    head: tuple[str, ...] = ()

    @classmethod
    def from_config(cls, config: MetaLearningSection) -> Self:
        """As a run is configured."""
        named = config.head_leaves
        return cls(None if named is None else tuple(named))

    def bound(self, model: nn.Module) -> Self:
        """With the model's head."""
        return replace(self, head=head_prefixes(model, self.named, "boil"))

    def adapts(self, name: str) -> bool:
        """Whether a leaf is the model's, but not the head's."""
        return super().adapts(name) and not name.startswith(self.head)
