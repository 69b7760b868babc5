"""An adapter that classifies texts."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import mlx.core as mx
import numpy as np

from mlpeft.adapters.adapter import Adapter, TextTokenizer

if TYPE_CHECKING:
    from collections.abc import Sequence

BATCH = 32
"""Texts per forward pass."""


@dataclass(frozen=True, slots=True)
class Prediction:
    """A classifier's answer for one text.

    Attributes:
        label: The most likely label.
        confidence: Its softmax probability, from 0 to 1; not calibrated.
        scores: The softmax probability of every label.
    """

    label: str
    confidence: float
    scores: dict[str, float]


@dataclass(slots=True, kw_only=True)
class Classifier(Adapter):
    """An adapter of a sentence encoder with a classification head."""

    _tokenizer: TextTokenizer | None = field(default=None, repr=False)

    @property
    def tokenizer(self) -> TextTokenizer:
        """Turns texts into the model's inputs; built on first use."""
        if self._tokenizer is None:
            self._tokenizer = TextTokenizer(self.config)
        return self._tokenizer

    def predict(self, texts: Sequence[str]) -> list[Prediction]:
        """Classify texts; predictions come in their order."""
        predictions: list[Prediction] = []
        for first in range(0, len(texts), BATCH):
            tokens = mx.array(self.tokenizer(texts[first : first + BATCH]))
            logits = self.model(tokens).astype(mx.float32)
            probabilities = np.asarray(mx.softmax(logits, axis=-1))
            predictions += [self._prediction(row) for row in probabilities]
        return predictions

    def _prediction(self, probabilities: np.ndarray) -> Prediction:
        best = int(probabilities.argmax())
        scores = dict(zip(self.labels, probabilities.tolist(), strict=True))
        return Prediction(self.labels[best], float(probabilities[best]), scores)
