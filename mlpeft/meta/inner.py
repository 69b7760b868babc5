"""The inner loop: a few gradient steps on one task, as a pure function.

`inner_steps` is the loop itself, over batches and with any step. `inner_loop` is the
one that tasks adapt with; who compiles single steps makes its own step of `grad_step`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from itertools import accumulate
from typing import TYPE_CHECKING, Literal, NamedTuple, Self, TypeVar

import mlx.core as mx
import numpy as np

from mlpeft.config import MetaLearningSection
from mlpeft.config.learning import INNER_STEPS
from mlpeft.meta.adaptation import PLAIN
from mlpeft.meta.algorithms import ALGORITHMS
from mlpeft.meta.micro_batches import mean_gradient
from mlpeft.meta.optimizers import SGD, Adam, InnerOptimizer, clip_by_global_norm
from mlpeft.meta.task_axis import OneTask

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from mlpeft.config import RunConfig
    from mlpeft.meta.adaptation import Adaptation
    from mlpeft.meta.functional import Functional, ModelInput
    from mlpeft.meta.support import Batch, PreparedSupport, StepInput
    from mlpeft.meta.task_axis import TaskAxis
    from mlpeft.params import MlxTree, ParamTree

LEAST_EVAL_STEPS = 10
"""Inner steps at evaluation where neither the configuration nor training has more."""

_DEFAULTS = MetaLearningSection()


def eval_steps(config: RunConfig) -> list[int]:
    """Inner steps after which queries are scored: those asked for, and the last.

    A meta-learned start goes on gaining after the steps that it was trained with, so
    evaluation takes ten at least unless told otherwise. Neither a comparison with the
    support set nor a head that is fitted to it takes any.
    """
    metric = ALGORITHMS[config.meta_learning.algorithm].adaptation.metric
    if metric or config.evaluation.head != INNER_STEPS:
        return [0]
    trained = config.meta_learning.num_inner_steps
    last = config.evaluation.num_inner_steps
    if last is None:
        last = max(trained, LEAST_EVAL_STEPS)
    return sorted({k for k in config.evaluation.steps if k <= last} | {last})


@dataclass(frozen=True, slots=True, kw_only=True)
class InnerLoop:
    """Settings of the inner loop; the meaning of each is that of its config key.

    Attributes:
        lr: `inner_lr`, alpha in the Reptile paper.
        num_steps: `num_inner_steps`.
        optimizer: "sgd" or "adam".
        beta1: Adam's decay of the first moment.
        beta2: Adam's decay of the second moment.
        state: "reset" starts each task with fresh moments; "carry" starts it with
            those of the meta-state, which are averaged over tasks like theta. (The
            paper's code carries them from one task to the next in sequence, which has
            no meaning on a cluster; with a meta-batch of 1 the two are the same.)
        batch_size: Support examples a step; None: all of them.
        grad_clip: Largest global norm of a gradient; None: no limit.
        micro_batch: Examples of a step that are computed at a time; None: all.
        first_order: Whether gradients of the steps count as constants.
        batch_norm: What batch norms normalise by at evaluation, see
            `mlpeft.meta.norm_statistics`.
        adaptation: What adapts, and how.
    """

    lr: float = _DEFAULTS.inner_lr
    num_steps: int = _DEFAULTS.num_inner_steps
    optimizer: Literal["sgd", "adam"] = _DEFAULTS.inner_optimizer
    beta1: float = _DEFAULTS.inner_beta1
    beta2: float = _DEFAULTS.inner_beta2
    state: Literal["reset", "carry"] = _DEFAULTS.inner_state
    batch_size: int | None = _DEFAULTS.inner_batch_size
    grad_clip: float | None = _DEFAULTS.inner_grad_clip
    micro_batch: int | None = _DEFAULTS.inner_micro_batch
    first_order: bool = _DEFAULTS.first_order
    batch_norm: Literal["batch", "running", "per-step"] = _DEFAULTS.batch_norm
    adaptation: Adaptation = PLAIN

    @classmethod
    def from_config(cls, config: MetaLearningSection) -> Self:
        """The settings of a run."""
        adaptation = ALGORITHMS[config.algorithm].adaptation.from_config(config)
        return cls(
            lr=config.inner_lr,
            num_steps=0 if adaptation.metric else config.num_inner_steps,
            optimizer=config.inner_optimizer,
            beta1=config.inner_beta1,
            beta2=config.inner_beta2,
            state=config.inner_state,
            batch_size=config.inner_batch_size,
            grad_clip=config.inner_grad_clip,
            micro_batch=config.inner_micro_batch,
            first_order=config.first_order,
            batch_norm=config.batch_norm,
            adaptation=adaptation,
        )

    @classmethod
    def for_evaluation(cls, config: RunConfig) -> Self:
        """The settings of a run's evaluation: as in training but where it says."""
        inner = cls.from_config(config.meta_learning)
        return replace(
            inner,
            num_steps=eval_steps(config)[-1],
            batch_size=config.evaluation.inner_batch_size or inner.batch_size,
        )

    @property
    def carries(self) -> bool:
        """Whether the inner optimiser's state is part of the meta-state."""
        return self.state == "carry" and self.optimizer == "adam"

    def make_optimizer(self) -> InnerOptimizer:
        """The inner optimiser, as the configuration names it."""
        if self.optimizer == "adam":
            return Adam(self.lr, self.beta1, self.beta2)
        return SGD(self.lr)

    def batches(
        self, support_size: int, make_rng: Callable[[], np.random.Generator]
    ) -> np.ndarray | None:
        """Which support examples each step sees; None: every step sees all.

        Cyclic without replacement, as in the paper's code: the set is shuffled, cut
        into batches, shuffled again when it is used up; a batch may span two rounds.

        Args:
            support_size: Examples in the support set.
            make_rng: Makes the generator; not called if every step sees all, because
                making one costs as much as a small inner loop.

        Returns:
            (num_steps, batch_size) indices into the support set, or None.
        """
        size = self.batch_size
        if size is None or size >= support_size or self.num_steps == 0:
            return None
        rng = make_rng()
        needed = self.num_steps * size
        rounds = -(-needed // support_size)
        order = np.concatenate([rng.permutation(support_size) for _ in range(rounds)])
        return order[:needed].reshape(self.num_steps, size)


class Iterate(NamedTuple):
    """Where an inner loop is between two steps.

    Attributes:
        params: Adapted parameters, with the episode's own leaves if it has such.
        state: The optimiser's state.
        loss: Loss of the last step's examples before that step; 0 without one.
    """

    params: MlxTree
    state: ParamTree
    loss: mx.array


IterateT = TypeVar("IterateT")


def inner_steps(
    step: Callable[[IterateT, Batch], IterateT],
    start: IterateT,
    batches: Iterable[Batch],
) -> Iterator[IterateT]:
    """The start, then the iterate after each step; none is computed before its turn.

    Args:
        step: What one step makes of an iterate: an `Iterate`, or what else it takes.
        start: Where to start.
        batches: What each step sees.
    """
    return accumulate(batches, step, initial=start)


def inner_loop(
    functional: Functional,
    inner: InnerLoop,
    theta: MlxTree,
    state: ParamTree,
    support: PreparedSupport,
    axis: TaskAxis = OneTask(),  # noqa: B008 - it has no state
) -> Iterator[Iterate]:
    """The iterates of the inner loop from theta on one support set, or one a task.

    Call and iterate inside `functional.installed()`.

    Args:
        functional: The model and its loss.
        inner: The settings.
        theta: Where to start.
        state: The inner optimiser's state to start with; {}: fresh.
        support: What the steps see.
        axis: Whether there is an axis of tasks in front of the arrays. Leaves get it
            with the first step; the state's count of steps has none, as all share it.
    """
    optimizer = functional.adaptation.optimizer(inner.make_optimizer())
    own = axis.episode_leaves(functional, theta, support.whole)
    theta = functional.adaptation.begin(theta)
    params = theta | own
    start = Iterate(params, optimizer.init(params) | state, mx.array(0.0))
    gradients = axis.gradients(partial(batch_gradients, functional, inner), theta)
    step = partial(grad_step, gradients, optimizer)
    return inner_steps(step, start, support.steps(inner.num_steps))


def last(iterates: Iterable[Iterate]) -> Iterate:
    """The last iterate; those before it are not kept."""
    for iterate in iterates:
        latest = iterate
    return latest


def grad_step(
    gradients: Callable[..., tuple[mx.array, MlxTree]],
    optimizer: InnerOptimizer,
    iterate: Iterate,
    batch: Batch,
) -> Iterate:
    """One inner step.

    Args:
        gradients: `(params, x, y, key) -> (loss, gradients)`.
        optimizer: The inner optimiser.
        iterate: Where to take it.
        batch: What it sees.
    """
    loss, grads = gradients(iterate.params, *batch)
    params, state = optimizer.step(iterate.params, grads, iterate.state)
    return Iterate(params, state, loss)


def batch_gradients(
    functional: Functional,
    inner: InnerLoop,
    params: MlxTree,
    x: StepInput,
    y: mx.array,
    key: mx.array | None = None,
) -> tuple[mx.array, MlxTree]:
    """Loss and clipped gradients of one task's batch at these parameters.

    Gradients are of the parameters that adapt.
    """
    loss_of: Callable[..., mx.array] = functional.loss
    adapting = functional.adaptation.adapting(params)
    if adapting is not None:
        fixed = params
        loss_of = partial(_loss_beside, functional, fixed)
        params = {name: params[name] for name in adapting}
    gradient = mx.value_and_grad(loss_of)
    if isinstance(x, list):
        size = inner.micro_batch or len(y)
        loss, grads = mean_gradient(gradient, params, x, y, size, key)
    else:
        loss, grads = gradient(params, x, y, key)
    if inner.grad_clip is not None:
        grads = clip_by_global_norm(grads, inner.grad_clip)
    if inner.first_order:
        grads = {name: mx.stop_gradient(g) for name, g in grads.items()}
    return loss, grads


def _loss_beside(
    functional: Functional,
    fixed: MlxTree,
    adapting: MlxTree,
    x: ModelInput,
    y: mx.array,
    key: mx.array | None = None,
) -> mx.array:
    """The loss, as a function of the parameters that adapt beside fixed ones."""
    return functional.loss(fixed | adapting, x, y, key)
