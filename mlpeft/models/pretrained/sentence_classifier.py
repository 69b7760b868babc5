"""A sentence encoder with a head for episodes whose classes are always new."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypeAlias

import mlx.core as mx
import mlx.nn as nn

from mlpeft.config import ModelSection
from mlpeft.models.pretrained.encoder import unit

if TYPE_CHECKING:
    import numpy as np

    from mlpeft.models.pretrained.packing import Prepared
    from mlpeft.params import ParamTree

HeadStart: TypeAlias = Literal["prototype", "cosine", "zero", "learned"]

_USUAL = ModelSection()

ABSENT = -1e4
"""Bias of a class that has no examples, so that it is never predicted: an episode may
have fewer classes than the head has outputs."""


class FewShotHead(nn.Module):
    """`y = scale W e + b` for embeddings e of length 1.

    Args:
        dims: Numbers in one embedding.
        num_classes: Classes of an episode.
        scale: Inverse temperature of the logits.
        cosine: Whether the length of W's rows counts for nothing and b does not adapt,
            so that logits stay cosines, times `scale` (Gidaris and Komodakis 2018,
            arXiv 1804.09458).
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

    Which label a class has in an episode is chance, so a head that is part of theta can
    learn nothing but that. By default the head is no part of theta: every episode
    starts with one made from its own support set, and it adapts from there.

    Args:
        encoder: (n, length) integers -> (n, dims) of length 1.
        dims: Numbers in one embedding.
        num_classes: Classes of an episode.
        start: "prototype": W is the normalised mean embedding of each class, so that
            zero inner steps classify by the nearest centroid (Snell et al. 2017, arXiv
            1703.05175, with the cosine); "cosine": likewise, and logits stay cosines
            while it adapts; "zero": the head starts from zeros; "learned": it is a part
            of theta like any other.
        scale: Inverse temperature of the logits.
        projected: Whether embeddings go through a linear layer before the head, their
            length made one again. It starts as the identity and is a part of theta.
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
        self.start = start
        if start != "learned":
            self.head.freeze()

    def __call__(self, sentences: mx.array | Prepared) -> mx.array:
        """Logits (n, num_classes) of what the encoder takes."""
        output: mx.array = self.head(self.embed(sentences))
        return output

    def embed(self, sentences: mx.array | Prepared) -> mx.array:
        """What the head sees: (n, dims) of length 1."""
        embeddings: mx.array = self.encoder(sentences)
        if "projection" not in self:
            return embeddings
        return unit(self.projection(embeddings))

    def prepare(self, tokens: np.ndarray) -> Prepared | None:
        """What the encoder can do before the inner loop; None: nothing."""
        prepare = getattr(self.encoder, "prepare", None)
        return None if prepare is None else prepare(tokens)

    def episode_start(
        self, support_x: mx.array | Prepared, support_y: mx.array
    ) -> ParamTree:
        """The leaves that an episode starts with in place of the module's own.

        Args:
            support_x: What the encoder takes.
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
            # A mean and a sum have the same direction.
            weight = unit(member.astype(mx.float32) @ self.embed(support_x))
            bias = mx.where(member.any(axis=1), 0.0, ABSENT)
        return {"head.weight": weight, "head.bias": bias}
