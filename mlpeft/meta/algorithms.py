"""What a task returns, and how the mean over tasks becomes a new theta."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from mlpeft.meta import fomaml, imaml, joint, reptile
from mlpeft.meta.adaptation import Adaptation
from mlpeft.meta.anil import HeadOnly
from mlpeft.meta.boil import BodyOnly
from mlpeft.meta.cavia import Context
from mlpeft.meta.functional import Functional
from mlpeft.meta.maml_plus_plus import StepwiseRates
from mlpeft.meta.matching import Attention
from mlpeft.meta.meta_curvature import Curvature
from mlpeft.meta.meta_sgd import LearnedRates
from mlpeft.meta.protonet import Prototypes
from mlpeft.meta.relation import Relation
from mlpeft.work import Displacement

if TYPE_CHECKING:
    from collections.abc import Callable

    import mlx.core as mx

    from mlpeft.config.algorithms import AlgorithmName
    from mlpeft.params import MlxTree, NumpyTree

    TaskGradient: TypeAlias = Callable[..., tuple[mx.array, MlxTree]]
    PseudoGradient: TypeAlias = Callable[[NumpyTree, NumpyTree], NumpyTree]


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
        through_steps: Whether the task returns the gradient of the queries' loss at
            theta, through its inner steps, see `maml.meta_gradient`.
        serial: Whether theta moves after each task, see `reptile_serial`.
        adaptation: What adapts, and how.
    """

    pseudo_gradient: PseudoGradient
    displacement: Displacement
    task_gradient: TaskGradient | None = None
    only_gradient: bool = False
    functional: type[Functional] = Functional
    through_steps: bool = False
    serial: bool = False
    adaptation: type[Adaptation] = Adaptation

    @property
    def needs_queries(self) -> bool:
        """Whether it learns from queries."""
        return self.through_steps or self.task_gradient is not None

    @property
    def model_alone(self) -> bool:
        """Whether theta is the model's leaves, all of them and no others."""
        own = self.adaptation.learned is not Adaptation.learned
        return not own and not self.adaptation.metric

    def gradients(self, inner_steps: int) -> int:
        """How many gradients of a task one meta-iteration computes.

        Those through the inner steps count one more for each step: a product with its
        second derivatives costs about as much.
        """
        if self.only_gradient or self.adaptation.metric:
            return 1
        return (1 + self.through_steps) * inner_steps + self.needs_queries


def _through_steps(adaptation: type[Adaptation]) -> Algorithm:
    """An algorithm whose meta-gradient is MAML's."""
    return Algorithm(
        fomaml.pseudo_gradient,
        Displacement.AS_IT_IS,
        through_steps=True,
        adaptation=adaptation,
    )


def _metric(adaptation: type[Adaptation]) -> Algorithm:
    """An algorithm without inner steps: the gradient at theta is all there is."""
    return Algorithm(
        fomaml.pseudo_gradient,
        Displacement.AS_IT_IS,
        fomaml.task_gradient,
        adaptation=adaptation,
    )


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
    "reptile_serial": Algorithm(
        reptile.pseudo_gradient, Displacement.FROM_THETA, serial=True
    ),
    "maml": _through_steps(Adaptation),
    "anil": _through_steps(HeadOnly),
    "boil": _through_steps(BodyOnly),
    "meta_sgd": _through_steps(LearnedRates),
    "maml++": _through_steps(StepwiseRates),
    "meta_curvature": _through_steps(Curvature),
    "cavia": _through_steps(Context),
    "imaml": Algorithm(
        fomaml.pseudo_gradient,
        Displacement.AS_IT_IS,
        imaml.task_gradient,
        adaptation=imaml.Proximal,
    ),
    "protonet": _metric(Prototypes),
    "matching": _metric(Attention),
    "relation": _metric(Relation),
}
"""By `meta_learning.algorithm`."""
