"""ANIL: the inner steps change the head alone.

`head <- head - alpha dL/dhead`, the body stays theta's; the meta-gradient, MAML's, is
of both.

References:
    Raghu, Raghu, Bengio and Vinyals, "Rapid Learning or Feature Reuse? Towards
    Understanding the Effectiveness of MAML", 2020, arXiv 1909.09157, section 4.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from mlpeft.meta.heads import SplitAtHead


@dataclass(frozen=True)
class HeadOnly(SplitAtHead):
    """The head adapts."""

    algorithm: ClassVar[str] = "anil"

    def adapts(self, name: str) -> bool:
        """Whether a leaf is the head's."""
        return name.startswith(self.head)
