"""BOIL: the inner steps change the body alone.

`body <- body - alpha dL/dbody`, the head stays theta's; the meta-gradient, MAML's, is
of both.

References:
    Oh, Yoo, Kim and Yun, "BOIL: Towards Representation Change for Few-shot Learning",
    2021, arXiv 2008.08882, section 3.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from mlpeft.meta.heads import SplitAtHead


@dataclass(frozen=True)
class BodyOnly(SplitAtHead):
    """All but the head adapts."""

    algorithm: ClassVar[str] = "boil"

    def adapts(self, name: str) -> bool:
        """Whether a leaf is the model's, but not the head's."""
        return super().adapts(name) and not name.startswith(self.head)
