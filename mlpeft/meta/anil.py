"""ANIL: the inner steps change the head alone.

`head <- head - alpha dL/dhead`, the body stays theta's; the meta-gradient, MAML's, is
of both.

References:
    Raghu, Raghu, Bengio and Vinyals, "Rapid Learning or Feature Reuse? Towards
    Understanding the Effectiveness of MAML", 2020, arXiv 1909.09157, section 4.
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
class HeadOnly(Selective):
    """The head adapts.

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
        return replace(self, head=head_prefixes(model, self.named, "anil"))

    def adapts(self, name: str) -> bool:
        """Whether a leaf is the head's."""
        return name.startswith(self.head)
