"""A sentence encoder with a head for episodes with new classes each time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypeAlias

import mlx.core as mx
import mlx.nn as nn

from mlpeft.config import ModelSection
from mlpeft.errors import ShapeError
from mlpeft.models.pretrained.encoder import unit

if TYPE_CHECKING:
    import numpy as np

    from mlpeft.models.pretrained.packing import Batch, Prepared
    from mlpeft.params import ParamTree

HeadStart: TypeAlias = Literal["prototype", "cosine", "zero", "learned"]

_USUAL = ModelSection()

ABSENT = -1e4
"""Bias of a class without examples, so that it is never predicted: an episode may have
fewer classes than the head has outputs."""


class FewShotHead(nn.Module):
    """`y = scale W e + b` for embeddings e, which are unit vectors.

    Args:
        dims: Numbers in one embedding.
        num_classes: Classes of an episode.
        scale: Inverse temperature of the logits.
        cosine: Whether W's rows are normalised and b does not adapt, so that logits
            stay `scale` times a cosine (Gidaris and Komodakis 2018, arXiv 1804.09458).
    """

    def __init__(
        self, dims: int, num_classes: int, scale: float, *, cosine: bool = False
    ) -> None:
        super().__init__()
        self.scale = scale
        self.cosine = cosine
        self.weight = mx.zeros((num_classes, dims))
        self.bias = mx.zeros((num_classes,))

    def __call__(self, embeddings: mx.array) -> mx.array:
        """(n, dims) -> logits (n, num_classes)."""
        weight, bias = self.weight, self.bias
        if self.cosine:
            weight, bias = unit(weight), mx.stop_gradient(bias)
        return self.scale * (embeddings @ weight.T) + bias


class SentenceClassifier(nn.Module):
    """Encoder and head.

    An episode assigns labels to classes at random, so a head in theta could learn
    nothing useful. By default the head is not part of theta: every episode builds one
    from its support set and adapts it.

    Args:
        encoder: (n, length) integers -> (n, dims) unit vectors.
        dims: Numbers in one embedding.
        num_classes: Classes of an episode.
        start: "prototype": W is the normalised mean embedding of each class, so that
            zero inner steps classify by the nearest centroid (Snell et al. 2017, arXiv
            1703.05175, with the cosine); "cosine": likewise, and logits stay cosines
            while it adapts; "zero": W and b start from zeros; "learned": the head is
            part of theta.
        scale: Inverse temperature of the logits.
        projected: Whether a linear layer maps embeddings before the head; the result is
            normalised. The layer starts as the identity and is part of theta.
    """

    def __init__(
        self,
        encoder: nn.Module,
        dims: int,
        num_classes: int,
        start: HeadStart = _USUAL.head,
        scale: float = _USUAL.logit_scale,
        *,
        projected: bool = False,
    ) -> None:
        super().__init__()
        self.encoder = encoder
        if projected:
            self.projection = nn.Linear(dims, dims)
            self.projection.weight = mx.eye(dims)
            self.projection.bias = mx.zeros((dims,))
        self.head = FewShotHead(dims, num_classes, scale, cosine=start == "cosine")
        self.dims = dims
        self.start = start
        self.logit_scale = scale
        if start != "learned":
            self.head.freeze()

    def __call__(self, sentences: mx.array | Batch) -> mx.array:
        """Logits (n, num_classes) of the encoder's inputs."""
        columns = self.head.weight.shape[1]
        if columns > self.layers_dims:
            raise ShapeError(
                f"invalid shape: the head has {columns} columns and the encoder gives "
                f"{self.layers_dims}, since it sees character n-grams of the texts, "
                "too; call predict or probabilities of the adapter, with texts"
            )
        if columns > self.dims and not isinstance(sentences, dict):
            vectors = self.embed_layers(sentences)
        else:
            vectors = self.embed(sentences)
        output: mx.array = self.head(vectors)
        return output

    def embed(self, sentences: mx.array | Batch) -> mx.array:
        """The head's inputs: (n, dims) unit vectors."""
        embeddings: mx.array = self.encoder(sentences)
        if "projection" not in self:
            return embeddings
        return unit(self.projection(embeddings))

    def embed_layers(self, sentences: mx.array) -> mx.array:
        """(n, `layers_dims`) unit vectors; those of `embed` are their first part.

        A projection, or an encoder of another kind, has no layers to tell of.
        """
        if self.layers_dims == self.dims:
            return self.embed(sentences)
        vectors: mx.array = self.encoder.of_layers(sentences)
        return vectors

    @property
    def layers_dims(self) -> int:
        """Numbers in a vector of `embed_layers`."""
        if "projection" in self:
            return self.dims
        return int(getattr(self.encoder, "layers_dims", self.dims))

    def prepare(self, tokens: np.ndarray) -> Prepared | None:
        """The encoder's `prepare`; None if it has none."""
        prepare = getattr(self.encoder, "prepare", None)
        return None if prepare is None else prepare(tokens)

    def episode_start(
        self, support_x: mx.array | Batch, support_y: mx.array
    ) -> ParamTree:
        """The leaves with which an episode starts, in place of the module's.

        Args:
            support_x: The encoder's inputs.
            support_y: (n,) labels.

        Returns:
            `head.weight` and `head.bias`, or nothing if the head is learned.
        """
        if self.start == "learned":
            return {}
        classes, dims = self.head.weight.shape
        weight, bias = mx.zeros((classes, dims)), mx.zeros((classes,))
        if self.start != "zero":
            member = support_y[None, :] == mx.arange(classes)[:, None]
            # The sum has the direction of the mean.
            weight = unit(member.astype(mx.float32) @ self.embed(support_x))
            bias = mx.where(member.any(axis=1), 0.0, ABSENT)
        return {"head.weight": weight, "head.bias": bias}
