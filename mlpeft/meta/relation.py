"""Relation networks: a small network scores how well a query and a class go together.

`logit_k = g([c_k, f(x)])`, c_k being the mean of class k's support embeddings (the
paper takes their sum, which is the same for episodes of one size but for a factor), and
g a perceptron with one hidden layer, part of theta. It is trained by cross entropy, as
all heads here; the paper takes squared errors of a sigmoid.

References:
    Sung, Yang, Zhang, Xiang, Torr and Hospedales, "Learning to Compare: Relation
    Network for Few-Shot Learning", 2018, arXiv 1711.06025, equation 1.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import mlx.core as mx
import numpy as np

from mlpeft.meta.adaptation import EPISODE, LEARNED
from mlpeft.meta.metric import MetricHead, absences, class_means

if TYPE_CHECKING:
    from mlpeft.config import MetaLearningSection
    from mlpeft.params import MlxTree, NumpyTree

MEANS = EPISODE + "means"
ABSENCES = EPISODE + "absences"
OF_CLASS = LEARNED + "relation/class_weight"
OF_QUERY = LEARNED + "relation/query_weight"
HIDDEN_BIAS = LEARNED + "relation/hidden_bias"
OUTPUT = LEARNED + "relation/output_weight"


@dataclass(frozen=True)
class Relation(MetricHead):
    """A learned comparison with class means.

    Attributes:
        hidden: Units of its hidden layer.
    """

    hidden: int = 1

    @classmethod
    def from_config(cls, config: MetaLearningSection) -> Self:
        """As a run is configured."""
        return cls("relation", hidden=config.relation_dim)

    def learned(self, theta: NumpyTree, rng: np.random.Generator) -> NumpyTree:
        """G's leaves: a linear layer of both halves of its input, and of its output."""
        first, second = 1 / math.sqrt(2 * self.dims), 1 / math.sqrt(self.hidden)
        wide = (self.hidden, self.dims)
        return {
            OF_CLASS: rng.uniform(-first, first, wide).astype(np.float32),
            OF_QUERY: rng.uniform(-first, first, wide).astype(np.float32),
            HIDDEN_BIAS: rng.uniform(-first, first, self.hidden).astype(np.float32),
            OUTPUT: rng.uniform(-second, second, self.hidden).astype(np.float32),
        }

    def references(self, embeddings: mx.array, y: mx.array, theta: MlxTree) -> MlxTree:
        """The half of g's hidden layer that a class decides, (classes, hidden)."""
        members = self.members(y)
        means = class_means(members, embeddings)
        half = means @ theta[OF_CLASS].T + theta[HIDDEN_BIAS]
        return {MEANS: half, ABSENCES: absences(members)}

    def logits(self, embeddings: mx.array, params: MlxTree) -> mx.array:
        """G of each pair of query and class."""
        half = embeddings @ params[OF_QUERY].T
        hidden = mx.maximum(half[:, None] + params[MEANS][None], 0.0)
        return hidden @ params[OUTPUT] + params[ABSENCES]
