"""iMAML: the meta-gradient from where the inner loop ends, whatever way it took.

A task minimises `L(phi) + lambda/2 |phi - theta|^2`. At its minimum phi* the implicit
function theorem gives `dL_query/dtheta = (I + H/lambda)^-1 dL_query/dphi*`, H being the
Hessian of the support loss; conjugate gradients solve for it with products `H v` alone.
No inner step is kept in memory.

References:
    Rajeswaran, Finn, Kakade and Levine, "Meta-Learning with Implicit Gradients", 2019,
    arXiv 1909.04630, algorithms 1 and 2.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import mlx.core as mx

from mlpeft.errors import ConfigError
from mlpeft.meta.adaptation import EPISODE, Partial, Selective

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    import mlx.nn as nn

    from mlpeft.config import MetaLearningSection
    from mlpeft.meta.functional import Functional, ModelInput
    from mlpeft.meta.optimizers import InnerOptimizer
    from mlpeft.params import MlxTree, ParamTree

ANCHOR = EPISODE + "anchor/"
_NOTHING = 1e-20
"""A residual as small as this is solved for."""


@dataclass(frozen=True)
class Proximal(Selective):
    """All of the model's leaves adapt, and are drawn back to theta.

    Attributes:
        strength: lambda.
        cg_steps: Steps of conjugate gradients.
    """

    strength: float = 1.0
    cg_steps: int = 1

    @classmethod
    def from_config(cls, config: MetaLearningSection) -> Self:
        """As a run is configured."""
        return cls(config.proximal, config.cg_steps)

    def bound(self, model: nn.Module) -> Self:
        """The same; a head that an episode makes has no place in the theorem."""
        if self.starts_episodes(model) and getattr(model, "start", "") != "learned":
            raise ConfigError(
                "meta_learning.algorithm: imaml needs all that adapts to start from "
                "theta, but this model makes its head anew in each episode; set "
                "model.head: learned, or take maml"
            )
        return self

    def begin(self, theta: MlxTree) -> MlxTree:
        """Theta twice: what adapts, and what draws it back."""
        return theta | {ANCHOR + name: leaf for name, leaf in theta.items()}

    def optimizer(self, inner: InnerOptimizer) -> InnerOptimizer:
        """The configured one, on the loss with the term that draws back."""
        return ProximalStep(Partial(inner, self), self.strength)


@dataclass(frozen=True, slots=True)
class ProximalStep:
    """Adds `lambda (phi - theta)` to the gradient.

    Attributes:
        optimizer: Takes the step.
        strength: lambda.
    """

    optimizer: InnerOptimizer
    strength: float

    def init(self, params: MlxTree) -> ParamTree:
        """The optimiser's."""
        return self.optimizer.init(params)

    def step(
        self, params: MlxTree, grads: MlxTree, state: ParamTree
    ) -> tuple[MlxTree, ParamTree]:
        """One step on the sum of loss and term."""
        drawn = {
            name: g + self.strength * (params[name] - params[ANCHOR + name])
            for name, g in grads.items()
        }
        return self.optimizer.step(params, drawn, state)


def task_gradient(
    functional: Functional,
    names: Iterable[str],
    adapted: MlxTree,
    support: tuple[ModelInput, mx.array],
    query: tuple[ModelInput, mx.array],
) -> tuple[mx.array, MlxTree]:
    """Loss of the queries at phi*, and `(I + H/lambda)^-1` times its gradient there.

    Args:
        functional: The model and its loss; call inside its `installed()`.
        names: Theta's leaves.
        adapted: phi*, and theta beside it.
        support: Inputs and labels of the whole support set.
        query: Inputs and labels of the queries.
    """
    adaptation = functional.adaptation
    if not isinstance(adaptation, Proximal):
        raise TypeError(adaptation)
    phi = {name: adapted[name] for name in names}
    loss, gradient = mx.value_and_grad(functional.loss)(phi, *query)

    def product(vector: MlxTree) -> MlxTree:
        """`(I + H/lambda) v`."""

        def along(phi: MlxTree) -> mx.array:
            slope = mx.grad(functional.loss)(phi, *support)
            return _dot(slope, vector)

        curved = mx.grad(along)(phi)
        return {
            name: v + curved[name] / adaptation.strength for name, v in vector.items()
        }

    return loss, conjugate_gradients(product, gradient, adaptation.cg_steps)


def conjugate_gradients(
    product: Callable[[MlxTree], MlxTree], right: MlxTree, steps: int
) -> MlxTree:
    """X with `A x = right`, after some steps of conjugate gradients from 0.

    Args:
        product: `v -> A v`; A is symmetric and positive definite.
        right: Right-hand side.
        steps: As many as there are unknowns would be exact.

    References:
        Hestenes and Stiefel, "Methods of Conjugate Gradients", 1952.
    """
    x = {name: mx.zeros_like(leaf) for name, leaf in right.items()}
    residual = direction = right
    squares = _dot(residual, residual)
    for _ in range(steps):
        image = product(direction)
        length = _ratio(squares, _dot(direction, image))
        x = {name: leaf + length * direction[name] for name, leaf in x.items()}
        residual = {n: leaf - length * image[n] for n, leaf in residual.items()}
        before, squares = squares, _dot(residual, residual)
        turn = _ratio(squares, before)
        direction = {n: leaf + turn * direction[n] for n, leaf in residual.items()}
    return x


def _dot(left: MlxTree, right: MlxTree) -> mx.array:
    """Inner product over all leaves."""
    parts = [mx.sum(left[name] * right[name]) for name in sorted(left)]
    return sum(parts[1:], parts[0])


def _ratio(top: mx.array, bottom: mx.array) -> mx.array:
    """`top / bottom`; 0 where nothing is left to solve for."""
    small = mx.abs(bottom) < _NOTHING
    return mx.where(small, 0.0, top / mx.where(small, 1.0, bottom))
