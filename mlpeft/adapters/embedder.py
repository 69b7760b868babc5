"""Embeds many texts: batches of like length, with adapters folded into the base."""

from __future__ import annotations

import math
from copy import copy
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

import mlx.core as mx
import numpy as np

from mlpeft.adapters.adapter import max_tokens
from mlpeft.adapters.ngrams import ngrams
from mlpeft.models.pretrained.encoder import unit
from mlpeft.models.pretrained.layer_pooling import LOWER_WEIGHT
from mlpeft.models.pretrained.source import model_file
from mlpeft.models.pretrained.tokenizers import TOKENIZER, Tokeniser

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import mlx.nn as nn

    from mlpeft.config import ModelSection, RunConfig
    from mlpeft.params import ParamTree

NGRAMS_WEIGHT = 0.5
"""Of the n-grams' unit vector, beside that of the last layer; chosen on training texts
(docs/intents.md)."""
BATCH_TOKENS = 1024
"""Tokens of one forward pass; more do not fit a core's cache."""


class Head(NamedTuple):
    """`logits = scale e W^T + b`, NumPy."""

    weight: np.ndarray
    bias: np.ndarray
    scale: float

    @classmethod
    def of_leaves(cls, leaves: ParamTree, section: ModelSection) -> Head:
        """The head of an adapter's leaves, as the model of a section applies it."""
        weight = np.asarray(leaves["head.weight"])
        if section.head == "cosine":
            weight = np.asarray(unit(mx.array(weight)))
        return cls(weight, np.asarray(leaves["head.bias"]), section.logit_scale)

    def beside_ngrams(self, last_dims: int, layers_dims: int) -> Head:
        """The same logits from the last layer and n-grams, both as unit vectors.

        Args:
            last_dims: See `Embedder`.
            layers_dims: Likewise.

        Returns:
            A head whose first `last_dims` columns are of the last layer, the rest of
            n-grams; lower layers, which it does not weigh, have none.
        """
        lower = layers_dims // last_dims - 1
        norm = 1.0 / math.sqrt(1.0 + lower * LOWER_WEIGHT**2)
        parts = (
            norm * self.weight[:, :last_dims],
            NGRAMS_WEIGHT * norm * self.weight[:, layers_dims:],
        )
        return self._replace(weight=np.concatenate(parts, axis=1))


class Embedder:
    """From texts to the vectors that a head sees.

    Attributes:
        last_dims: Numbers in a vector of the encoder's last layer.
        layers_dims: Numbers in a vector of all its layers that are pooled.

    Args:
        model: A sentence classifier, with its leaves.
        config: Its run's configuration.
    """

    def __init__(self, model: nn.Module, config: RunConfig) -> None:
        self._model: Any = model
        encoder: Any = getattr(model, "encoder", None)
        if hasattr(encoder, "without_gradients"):
            encoder.without_gradients()
        params = config.task_distribution.task_params
        source = str(params.get("tokenizer", config.model.weights))
        self._tokenise = Tokeniser(model_file(source, TOKENIZER), max_tokens(config))
        self.last_dims = int(self._model.dims)
        self.layers_dims = int(self._model.layers_dims)

    def with_head(self, weight: np.ndarray, bias: np.ndarray) -> Embedder:
        """The same encoder and tokenizer with another head, of scale 1."""
        other = copy(self)
        other.head = Head(weight, bias, 1.0)
        return other

    @cached_property
    def head(self) -> Head:
        """The numbers of the model's head."""
        head = self._model.head
        weight, bias = np.asarray(head.weight), np.asarray(head.bias)
        if head.cosine:
            weight = np.asarray(unit(head.weight))
        return Head(weight, bias, float(head.scale))

    def __call__(
        self, texts: Sequence[str], progress: Callable[[int], None] = lambda _: None
    ) -> np.ndarray:
        """(n, dims) float32 unit vectors that the head sees, in the order of the texts.

        Args:
            texts: Any number.
            progress: Called with the number of texts done.
        """
        dims = self.head.weight.shape[1] or self.last_dims
        if dims > self.layers_dims:
            return self.features(texts, progress)
        model = self._model
        run = model.embed if dims == self.last_dims else model.embed_layers
        return self._vectors(texts, progress, run, dims)

    def features(
        self, texts: Sequence[str], progress: Callable[[int], None] = lambda _: None
    ) -> np.ndarray:
        """(n, dims) float32: all that a head may see of each text.

        The first `last_dims` columns are of the encoder's last layer, the first
        `layers_dims` of several, the rest of character n-grams.
        """
        run, dims = self._model.embed_layers, self.layers_dims
        vectors = self._vectors(texts, progress, run, dims)
        last = np.linalg.norm(vectors[:, : self.last_dims], axis=1, keepdims=True)
        return np.concatenate([vectors, NGRAMS_WEIGHT * last * ngrams(texts)], axis=1)

    def _vectors(
        self,
        texts: Sequence[str],
        progress: Callable[[int], None],
        run: Callable[[mx.array], mx.array],
        dims: int,
    ) -> np.ndarray:
        """(n, dims) of texts, by a method of the model that takes token ids."""
        vectors = np.empty((len(texts), dims), np.float32)
        if not len(texts):
            return vectors
        tokens = self._tokenise(texts)
        order = np.argsort(tokens.lengths, kind="stable")
        done = 0
        while done < len(order):
            count = max(BATCH_TOKENS // int(tokens.lengths[order[done]]), 1)
            rows = order[done : done + count]
            # A longer text of the batch may ask for more than its share of tokens.
            longest = np.maximum.accumulate(tokens.lengths[rows])
            fits = longest * np.arange(1, len(rows) + 1) <= BATCH_TOKENS
            rows = rows[: max(int(fits.sum()), 1)]
            batch = tokens.rows[rows, : int(tokens.lengths[rows].max())]
            vectors[rows] = np.asarray(run(mx.array(batch)))
            done += len(rows)
            progress(done)
        return vectors
