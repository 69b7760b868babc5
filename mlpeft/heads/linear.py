"""What every head ends as: a linear map to calibrated logits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

ABSENT = -1e4
"""Bias of a class without examples, so that it is never predicted."""


@dataclass(frozen=True, slots=True, eq=False)
class LinearHead:
    """`logits = e W^T + b`.

    Attributes:
        weight: (classes, dims) float32.
        bias: (classes,) float32.
    """

    weight: npt.NDArray[np.float32]
    bias: npt.NDArray[np.float32]

    def __call__(self, embeddings: np.ndarray) -> np.ndarray:
        """(n, dims) embeddings, or wider ones -> logits (n, classes)."""
        x = narrowed(embeddings, self.weight.shape[1])
        logits: np.ndarray = x @ self.weight.T + self.bias
        return logits

    def scaled(self, factor: float) -> LinearHead:
        """The head with its logits times a factor: an inverse temperature."""
        return LinearHead(
            (factor * self.weight).astype(np.float32),
            np.maximum(factor * self.bias, ABSENT).astype(np.float32),
        )


def narrowed(vectors: np.ndarray, dims: int) -> np.ndarray:
    """The first `dims` columns of (n, dims or more) vectors, as unit vectors.

    Those of several layers of an encoder begin with the last layer's.
    """
    if vectors.shape[1] == dims:
        return vectors
    first = vectors[:, :dims]
    norms = np.maximum(np.linalg.norm(first, axis=1, keepdims=True), 1e-12)
    narrow: np.ndarray = first / norms
    return narrow


def mean_of(heads: list[LinearHead]) -> LinearHead:
    """The head whose logits are the mean of several heads' logits."""
    return LinearHead(
        np.mean([head.weight for head in heads], axis=0),
        np.mean([head.bias for head in heads], axis=0),
    )


def softmax(logits: np.ndarray) -> np.ndarray:
    """`exp(z) / sum exp(z)` along the last axis."""
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    shares: np.ndarray = powers / powers.sum(axis=-1, keepdims=True)
    return shares


def sigmoid(logits: np.ndarray) -> np.ndarray:
    """`1 / (1 + exp(-z))`."""
    shares: np.ndarray = 0.5 * (1.0 + np.tanh(0.5 * logits))
    return shares
