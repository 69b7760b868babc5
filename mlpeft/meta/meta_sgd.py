"""Meta-SGD: the inner step sizes are learned with theta.

`theta' = theta - rates * dL/dtheta`, elementwise; the meta-gradient, MAML's, is of
theta and of the rates, which start at `inner_lr`.

References:
    Li, Zhou, Chen and Li, "Meta-SGD: Learning to Learn Quickly for Few-Shot Learning",
    2017, arXiv 1707.09835, equation 2.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np

from mlpeft.meta.adaptation import LEARNED, Selective

if TYPE_CHECKING:
    from mlpeft.config import MetaLearningSection
    from mlpeft.meta.optimizers import InnerOptimizer
    from mlpeft.params import MlxTree, NumpyTree, ParamTree

RATE = LEARNED + "rate/"


@dataclass(frozen=True)
class LearnedRates(Selective):
    """All of the model's leaves adapt, each with its own step size.

    Attributes:
        lr: Where the step sizes start.
        elementwise: Whether each number has one, or each leaf.
    """

    lr: float = 0.0
    elementwise: bool = True

    @classmethod
    def from_config(cls, config: MetaLearningSection) -> Self:
        """As a run is configured."""
        return cls(config.inner_lr, config.rates == "element")

    def learned(self, theta: NumpyTree, rng: np.random.Generator) -> NumpyTree:
        """The step sizes: of a leaf's shape, or (1, ..., 1) with as many axes."""
        return {
            RATE + name: np.full(
                leaf.shape if self.elementwise else (1,) * leaf.ndim,
                self.lr,
                np.float32,
            )
            for name, leaf in theta.items()
        }

    def optimizer(self, inner: InnerOptimizer) -> InnerOptimizer:
        """Gradient descent with these step sizes."""
        return RateDescent(self.lr)


@dataclass(frozen=True, slots=True)
class RateDescent:
    """`p <- p - rate g`, the rate being a parameter that does not adapt.

    Attributes:
        lr: Rate of what has none: leaves that an episode starts with.
    """

    lr: float

    def init(self, params: MlxTree) -> ParamTree:
        """There is no state."""
        return {}

    def step(
        self, params: MlxTree, grads: MlxTree, state: ParamTree
    ) -> tuple[MlxTree, ParamTree]:
        """One step of the parameters that have a gradient."""
        moved = {
            name: params[name] - params.get(RATE + name, self.lr) * g
            for name, g in grads.items()
        }
        return params | moved, state
