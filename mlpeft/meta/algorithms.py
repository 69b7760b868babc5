"""What a task returns, and how the mean over tasks becomes a new theta."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

from mlpeft.meta import fomaml, reptile

if TYPE_CHECKING:
    from collections.abc import Callable

    import mlx.core as mx

    from mlpeft.params import ParamTree

    TaskGradient: TypeAlias = Callable[..., tuple[mx.array, ParamTree]]
    PseudoGradient: TypeAlias = Callable[[ParamTree, ParamTree], ParamTree]

AlgorithmName: TypeAlias = Literal["reptile", "fomaml"]


@dataclass(frozen=True, slots=True)
class Algorithm:
    """A meta-learning algorithm: all that differs between one and another.

    Attributes:
        pseudo_gradient: What the outer optimiser descends, of theta and the mean over
            the meta-batch of what the tasks returned, NumPy leaves.
        task_gradient: `(functional, names, adapted, support, query) -> (loss,
            gradient)`, see `fomaml.task_gradient`: the task returns that gradient.
            None: it returns its adapted parameters, and needs no queries.
    """

    pseudo_gradient: PseudoGradient
    task_gradient: TaskGradient | None = None


ALGORITHMS: dict[AlgorithmName, Algorithm] = {
    "reptile": Algorithm(reptile.pseudo_gradient),
    "fomaml": Algorithm(fomaml.pseudo_gradient, fomaml.task_gradient),
}
"""By `meta_learning.algorithm`."""
