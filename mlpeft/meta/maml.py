"""MAML: the gradient of the queries' loss through the inner steps.

`g = d/d theta L_query(U(theta))`, U being the inner loop: its steps count, with the
second derivatives of the support loss. `first_order` takes the gradients of the inner
steps as constants, and g becomes `dL_query / d theta'` at the adapted theta'.

References:
    Finn, Abbeel and Levine, "Model-Agnostic Meta-Learning for Fast Adaptation of Deep
    Networks", 2017, arXiv 1703.03400, algorithm 1.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import mlx.core as mx

from mlpeft.meta import norm_statistics
from mlpeft.meta.inner import inner_loop

if TYPE_CHECKING:
    from mlpeft.meta.functional import Functional
    from mlpeft.meta.inner import InnerLoop
    from mlpeft.meta.support import Examples, PreparedSupport
    from mlpeft.meta.task_axis import TaskAxis
    from mlpeft.params import MlxTree, ParamTree


class MetaGradient(NamedTuple):
    """What is seen of one task, or of all tasks at once.

    Attributes:
        total: Gradient of the loss, summed over tasks.
        support_loss: Of the last inner step's examples, before it; a number, or one a
            task.
        query_loss: Of the queries after the last step; likewise.
        statistics: Those of batch norms after the task, or one set a task; {} unless
            kept.
    """

    total: MlxTree
    support_loss: mx.array
    query_loss: mx.array
    statistics: MlxTree


def meta_gradient(
    functional: Functional,
    inner: InnerLoop,
    theta: MlxTree,
    state: ParamTree,
    support: PreparedSupport,
    query: Examples,
    axis: TaskAxis,
    weights: mx.array | None = None,
) -> MetaGradient:
    """Gradient of `sum over tasks and steps of w_k L_query(theta_k)` at theta.

    theta_k is what a task has after k inner steps. Call inside
    `functional.installed()`.

    Args:
        functional: The model and its loss.
        inner: The inner loop.
        theta: Where to take the gradient; each leaf is differentiated.
        state: The inner optimiser's state to start with, and the statistics of batch
            norms where they are kept.
        support: What the steps see.
        query: The queries.
        axis: Whether there is an axis of tasks in front of the arrays.
        weights: (num_steps,) w_1, ...; None: only the last counts, with weight 1.
    """
    tasks = len(support.whole.y)
    moments, statistics = norm_statistics.split(state)

    def loss_of(params: MlxTree, shared: MlxTree) -> mx.array:
        return axis.map(functional.loss)(axis.spread(params, shared, tasks), *query)

    def loss(theta: MlxTree) -> tuple[mx.array, mx.array, mx.array, MlxTree]:
        shared = functional.adaptation.begin(theta)
        total = mx.array(0.0)
        iterates = inner_loop(functional, inner, theta, moments, support, axis)
        kept: MlxTree = {}
        if statistics:
            iterates = iter(path := list(iterates))
            kept = norm_statistics.moved(
                functional, statistics, path, support, query, axis, shared
            )
        for number, iterate in enumerate(iterates):
            if weights is not None and number > 0:
                one = loss_of(iterate.params, shared)
                total = total + weights[number - 1] * mx.sum(one)
        if weights is None:
            one = loss_of(iterate.params, shared)
            total = mx.sum(one)
        return total, iterate.loss, one, kept

    (_, support_loss, query_loss, kept), gradient = mx.value_and_grad(loss)(theta)
    return MetaGradient(gradient, support_loss, query_loss, kept)
