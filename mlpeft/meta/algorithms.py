"""What a task returns, and how the mean over tasks becomes a new theta."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

from mlpeft.meta import fomaml, joint, reptile
from mlpeft.meta.functional import Functional
from mlpeft.work import Displacement

if TYPE_CHECKING:
    from collections.abc import Callable

    import mlx.core as mx

    from mlpeft.params import MlxTree, NumpyTree

    TaskGradient: TypeAlias = Callable[..., tuple[mx.array, MlxTree]]
    PseudoGradient: TypeAlias = Callable[[NumpyTree, NumpyTree], NumpyTree]

AlgorithmName: TypeAlias = Literal["reptile", "fomaml", "joint"]


@dataclass(frozen=True, slots=True)
class Algorithm:
    """A meta-learning algorithm: all that differs between one and another.

    Attributes:
        pseudo_gradient: What the outer optimiser descends, of theta and the mean over
            the meta-batch of what the tasks returned, NumPy leaves.
        displacement: What a shard's mean is, seen from theta; for the cluster's check
            of outliers, which knows no algorithm.
        task_gradient: `(functional, names, adapted, support, query) -> (loss,
            gradient)`, see `fomaml.task_gradient`: the task returns that gradient.
            None: it returns its adapted parameters, and needs no queries.
        only_gradient: Whether a task returns the gradient of its first step, at theta,
            and takes no step.
        functional: How the model is called while training.
    """

    pseudo_gradient: PseudoGradient
    displacement: Displacement
    task_gradient: TaskGradient | None = None
    only_gradient: bool = False
    functional: type[Functional] = Functional

    def gradients(self, inner_steps: int) -> int:
        """How many gradients of a task one meta-iteration computes."""
        if self.only_gradient:
            return 1
        return inner_steps + (self.task_gradient is not None)


ALGORITHMS: dict[AlgorithmName, Algorithm] = {
    "reptile": Algorithm(reptile.pseudo_gradient, Displacement.FROM_THETA),
    "fomaml": Algorithm(
        fomaml.pseudo_gradient, Displacement.AS_IT_IS, fomaml.task_gradient
    ),
    "joint": Algorithm(
        joint.pseudo_gradient,
        Displacement.AS_IT_IS,
        only_gradient=True,
        functional=joint.HeadedFunctional,
    ),
}
"""By `meta_learning.algorithm`."""
