"""An adapter that classifies texts."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from mlpeft.adapters.adapter import Adapter, TextTokenizer
from mlpeft.adapters.embedder import Embedder
from mlpeft.heads.linear import narrowed, sigmoid, softmax
from mlpeft.peft.wrap import METHODS, merge

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import mlx.nn as nn
    import numpy as np

NONE_OF_THESE = "none of these"
"""The label of a text whose confidence is below `reject_below`."""


@dataclass(frozen=True, slots=True)
class Prediction:
    """A classifier's answer for one text.

    Attributes:
        label: The most likely label, or `NONE_OF_THESE`.
        confidence: The probability of the most likely label, from 0 to 1. Calibrated
            where the adapter was fitted by `TextClassifier` (its history has a `head`).
        scores: The probability of every label.
    """

    label: str
    confidence: float
    scores: dict[str, float]


@dataclass(slots=True, kw_only=True, repr=False)
class Classifier(Adapter):
    """An adapter of a sentence encoder with a classification head.

    Attributes:
        reject_below: Confidence below which a text is none of the labels; 0: never.
        none_label: The last of the labels, if it stands for "none of the others".
        multi_label: Whether labels do not exclude one another: each has a probability
            of its own.
    """

    reject_below: float = 0.0
    none_label: str | None = None
    multi_label: bool = False
    _tokenizer: TextTokenizer | None = field(default=None, repr=False)
    _embedder: Embedder | None = field(default=None, repr=False)
    _merged: nn.Module | None = field(default=None, repr=False)

    @property
    def tokenizer(self) -> TextTokenizer:
        """Turns texts into the model's inputs; built on first use."""
        if self._tokenizer is None:
            self._tokenizer = TextTokenizer(self.config)
        return self._tokenizer

    @property
    def embed(self) -> Embedder:
        """From texts to what the head sees; the adapter is merged into the base."""
        if self._embedder is None:
            section = self.config.peft
            mergeable = section.method != "none" and METHODS[section.method].merges
            self._merged = self.build_model() if mergeable else self.model
            if mergeable:
                merge(self._merged, section)
            self._embedder = Embedder(self._merged, self.config)
        return self._embedder

    def use_embedder(self, embedder: Embedder) -> None:
        """Embed by an encoder that is in memory already, with this adapter's head."""
        self._embedder = embedder

    def take_encoder(self, other: Classifier) -> None:
        """Share the encoder of an adapter that differs in its head alone."""
        self._embedder = other.embed.with_head(
            self.leaves["head.weight"], self.leaves["head.bias"]
        )

    def probabilities(
        self, texts: Sequence[str], progress: Callable[[int], None] = lambda _: None
    ) -> np.ndarray:
        """(n, labels) float32: the probability of each label for each text.

        Args:
            texts: Any number.
            progress: Called with the number of texts done.
        """
        return self.of_embeddings(self.embed(texts, progress))

    def of_embeddings(self, embeddings: np.ndarray) -> np.ndarray:
        """(n, labels) float32 probabilities of (n, dims or more) embeddings."""
        head = self.embed.head
        x = narrowed(embeddings, head.weight.shape[1])
        logits = head.scale * (x @ head.weight.T) + head.bias
        return sigmoid(logits) if self.multi_label else softmax(logits)

    def predict(
        self,
        texts: Sequence[str],
        progress: Callable[[int], None] = lambda _: None,
        *,
        reject_below: float | None = None,
    ) -> list[Prediction]:
        """Classify texts; predictions come in their order.

        Args:
            texts: Any number.
            progress: Called with the number of texts done.
            reject_below: In place of the adapter's own.
        """
        least = self.reject_below if reject_below is None else reject_below
        rows = self.probabilities(texts, progress)
        return [self._prediction(row, least) for row in rows]

    def _prediction(self, probabilities: np.ndarray, reject_below: float) -> Prediction:
        best = int(probabilities.argmax())
        confidence = float(probabilities[best])
        scores = dict(zip(self.labels, probabilities.tolist(), strict=True))
        if confidence >= reject_below:
            return Prediction(self.labels[best], confidence, scores)
        return Prediction(self.none_label or NONE_OF_THESE, confidence, scores)
