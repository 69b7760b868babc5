"""Prototypical networks: the class whose mean embedding is nearest.

`logit_k = -|f(x) - c_k|^2`, c_k being the mean of class k's support embeddings. Less
`|f(x)|^2`, which is the same for all classes, that is a linear layer: `2 c_k f(x) -
|c_k|^2` (section 2.4).

References:
    Snell, Swersky and Zemel, "Prototypical Networks for Few-shot Learning", 2017, arXiv
    1703.05175.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import mlx.core as mx

from mlpeft.meta.adaptation import EPISODE, of_model
from mlpeft.meta.metric import MetricHead, absences, class_means

if TYPE_CHECKING:
    from mlpeft.config import MetaLearningSection
    from mlpeft.params import MlxTree

WEIGHT = EPISODE + "weight"
BIAS = EPISODE + "bias"


@dataclass(frozen=True)
class Prototypes(MetricHead):
    """Squared Euclidean distances to class means."""

    @classmethod
    def from_config(cls, config: MetaLearningSection) -> Self:  # noqa: ARG003
        """There is nothing to configure."""
        return cls("protonet")

    def references(
        self,
        embeddings: mx.array,
        y: mx.array,
        theta: MlxTree,
    ) -> MlxTree:
        """Weight (classes, dims) and bias (classes,) of the linear layer."""
        members = self.members(y)
        means = class_means(members, embeddings)
        bias = -self.scale * mx.sum(mx.square(means), axis=1) + absences(members)
        return {WEIGHT: 2.0 * means, BIAS: bias}

    def logits(self, embeddings: mx.array, params: MlxTree) -> mx.array:
        """`scale (2 c_k f - |c_k|^2)`."""
        return self.scale * (embeddings @ params[WEIGHT].T) + params[BIAS]

    def adapter_leaves(self, params: MlxTree) -> MlxTree:
        """With the linear layer in the place of the model's head."""
        own = {
            f"{self.head}.weight": params[WEIGHT],
            f"{self.head}.bias": params[BIAS],
        }
        return of_model(params) | own
