"""An adapter that labels texts."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import mlx.core as mx
import numpy as np

from mlpeft.adapters.adapter import Adapter, Texts

if TYPE_CHECKING:
    from collections.abc import Sequence

BATCH = 32
"""Texts that are classified at once."""


@dataclass(frozen=True, slots=True)
class Prediction:
    """What a classifier makes of one text.

    Attributes:
        label: The most likely label.
        confidence: Its share of the softmax of the model's outputs, from 0 to 1; not
            calibrated.
        scores: That share of every label.
    """

    label: str
    confidence: float
    scores: dict[str, float]


@dataclass(slots=True, kw_only=True)
class Classifier(Adapter):
    """An adapter of a sentence encoder with a head."""

    _inputs: Texts | None = field(default=None, repr=False)

    @property
    def inputs(self) -> Texts:
        """From texts to what the model takes; made when first asked."""
        if self._inputs is None:
            self._inputs = Texts(self.config)
        return self._inputs

    def predict(self, texts: Sequence[str]) -> list[Prediction]:
        """Classify texts, in their order."""
        found: list[Prediction] = []
        for first in range(0, len(texts), BATCH):
            tokens = mx.array(self.inputs(texts[first : first + BATCH]))
            shares = mx.softmax(self.model(tokens).astype(mx.float32), axis=-1)
            found += [self._prediction(row) for row in np.asarray(shares)]
        return found

    def _prediction(self, shares: np.ndarray) -> Prediction:
        best = int(shares.argmax())
        scores = dict(zip(self.labels, shares.tolist(), strict=True))
        return Prediction(self.labels[best], float(shares[best]), scores)
