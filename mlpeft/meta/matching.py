"""Matching networks: a query attends to the support set and takes its labels.

`P(k | x) = sum over examples i of class k of a(x, i)`, with `a = softmax(s cos(f(x),
f(x_i)))` over all examples; s is learned. (Without the paper's fully conditional
embeddings.)

References:
    Vinyals, Blundell, Lillicrap, Kavukcuoglu and Wierstra, "Matching Networks for One
    Shot Learning", 2016, arXiv 1606.04080, equations 1 and 2.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import mlx.core as mx
import numpy as np

from mlpeft.meta.adaptation import EPISODE, LEARNED
from mlpeft.meta.metric import ABSENT, MetricHead

if TYPE_CHECKING:
    from mlpeft.config import MetaLearningSection
    from mlpeft.params import MlxTree, NumpyTree

SUPPORT = EPISODE + "support"
OTHERS = EPISODE + "others"
SCALE = LEARNED + "scale"
FIRST_SCALE = 10.0
_EPS = 1e-12


@dataclass(frozen=True)
class Attention(MetricHead):
    """Attention over the support set by cosines."""

    @classmethod
    def from_config(cls, config: MetaLearningSection) -> Self:  # noqa: ARG003
        """There is nothing to configure."""
        return cls("matching")

    def learned(self, theta: NumpyTree, rng: np.random.Generator) -> NumpyTree:
        """S, the inverse temperature of the attention."""
        return {SCALE: np.full((1,), FIRST_SCALE, np.float32)}

    def references(self, embeddings: mx.array, y: mx.array, theta: MlxTree) -> MlxTree:
        """`s f(x_i) / |f(x_i)|` (n, dims), and (classes, n) what keeps them apart."""
        others = (1.0 - self.members(y)) * ABSENT
        return {SUPPORT: theta[SCALE] * _unit(embeddings), OTHERS: others}

    def logits(self, embeddings: mx.array, params: MlxTree) -> mx.array:
        """`log P(k | x)`, up to a term that all classes share."""
        scores = _unit(embeddings) @ params[SUPPORT].T
        return mx.logsumexp(scores[:, None, :] + params[OTHERS][None], axis=-1)


def _unit(embeddings: mx.array) -> mx.array:
    squares = mx.sum(mx.square(embeddings), axis=-1, keepdims=True)
    return embeddings * mx.rsqrt(squares + _EPS)
