"""First-order MAML: move theta down the queries' gradient, taken after adaptation.

A head that an episode makes from its support set is a function of theta; its gradient
is followed through the making, as in first-order Proto-MAML. Without an inner step
(`num_inner_steps: 0`) and with a prototype head this is how prototypical networks are
trained.

References:
    Finn, Abbeel and Levine, "Model-Agnostic Meta-Learning", 2017, arXiv 1703.03400.
    Triantafillou et al., "Meta-Dataset", 2020, arXiv 1903.03096 (Proto-MAML).
    Snell, Swersky and Zemel, "Prototypical Networks", 2017, arXiv 1703.05175.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import mlx.core as mx

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mlpeft.meta.functional import Functional, ModelInput
    from mlpeft.params import MlxTree, NumpyTree


def task_gradient(
    functional: Functional,
    names: Iterable[str],
    adapted: MlxTree,
    support: tuple[ModelInput, mx.array],
    query: tuple[ModelInput, mx.array],
) -> tuple[mx.array, MlxTree]:
    """Loss of the queries at the adapted parameters, and its gradient there.

    The episode's own leaves are what they would be if made at the adapted parameters,
    plus what the inner steps changed in them, which counts as constant.

    Args:
        functional: The model and its loss; call inside its `installed()`.
        names: Theta's leaves.
        adapted: Parameters after the inner loop, with the episode's own leaves.
        support: Inputs and labels of the whole support set.
        query: Inputs and labels of the queries.
    """

    def loss(params: MlxTree) -> mx.array:
        own = {
            name: leaf + mx.stop_gradient(adapted[name] - leaf)
            for name, leaf in functional.episode_leaves(params, *support).items()
        }
        return functional.loss(params | own, *query)

    value, gradient = mx.value_and_grad(loss)({name: adapted[name] for name in names})
    return value, gradient


def pseudo_gradient(theta: NumpyTree, mean: NumpyTree) -> NumpyTree:  # noqa: ARG001 - one signature for all algorithms
    """The mean gradient itself."""
    return mean
