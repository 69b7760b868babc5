"""The inner loop: a few gradient steps on one task, as a pure function."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Self

import mlx.core as mx
import numpy as np

from mlpeft.meta.micro_batches import accumulate
from mlpeft.meta.optimizers import SGD, Adam, InnerOptimizer, clip_by_global_norm

if TYPE_CHECKING:
    from collections.abc import Callable

    from mlpeft.config import MetaLearningSection
    from mlpeft.meta.functional import Functional
    from mlpeft.params import ParamTree


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
    """

    lr: float = 0.01
    num_steps: int = 5
    optimizer: Literal["sgd", "adam"] = "sgd"
    beta1: float = 0.0
    beta2: float = 0.999
    state: Literal["reset", "carry"] = "reset"
    batch_size: int | None = None
    grad_clip: float | None = None
    micro_batch: int | None = None

    @classmethod
    def from_config(cls, config: MetaLearningSection) -> Self:
        """The settings of a run."""
        return cls(
            lr=config.inner_lr,
            num_steps=config.num_inner_steps,
            optimizer=config.inner_optimizer,
            beta1=config.inner_beta1,
            beta2=config.inner_beta2,
            state=config.inner_state,
            batch_size=config.inner_batch_size,
            grad_clip=config.inner_grad_clip,
            micro_batch=config.inner_micro_batch,
        )

    @property
    def carries(self) -> bool:
        """Whether the inner optimiser's state is part of the meta-state."""
        return self.state == "carry" and self.optimizer == "adam"

    def make_optimizer(self) -> InnerOptimizer:
        """The inner optimiser."""
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
        if size is None or size >= support_size:
            return None
        rng = make_rng()
        needed = self.num_steps * size
        rounds = -(-needed // support_size)
        order = np.concatenate([rng.permutation(support_size) for _ in range(rounds)])
        return order[:needed].reshape(self.num_steps, size)


def grad_step(
    functional: Functional,
    inner: InnerLoop,
    params: ParamTree,
    state: ParamTree,
    x: Any,
    y: mx.array,
    key: mx.array | None = None,
) -> tuple[ParamTree, ParamTree, mx.array]:
    """One inner step: parameters and state after it, and the loss before it."""
    loss, grads = _gradients(functional, inner, params, x, y, key)
    params, state = inner.make_optimizer().step(params, grads, state)
    return params, state, loss


def _gradients(
    functional: Functional,
    inner: InnerLoop,
    params: ParamTree,
    x: Any,
    y: mx.array,
    key: mx.array | None = None,
) -> tuple[mx.array, ParamTree]:
    """Loss and clipped gradients at these parameters."""
    gradient = mx.value_and_grad(functional.loss)
    if inner.micro_batch is not None and isinstance(x, list):
        loss, grads = accumulate(gradient, params, x, y, inner.micro_batch, key)
    else:
        loss, grads = gradient(params, x, y, key)
    if inner.grad_clip is not None:
        grads = clip_by_global_norm(grads, inner.grad_clip)
    return loss, grads


class Adapted(NamedTuple):
    """What an inner loop ends with.

    Attributes:
        params: Adapted parameters, with the episode's own leaves if it has such.
        state: The optimiser's state.
        support_loss: Loss of the last step's examples before that step; 0 without one.
    """

    params: ParamTree
    state: ParamTree
    support_loss: mx.array


def adapt(
    functional: Functional,
    inner: InnerLoop,
    theta: ParamTree,
    state: ParamTree,
    support_x: Any,
    support_y: mx.array,
    *,
    batched: bool,
    vectorised: bool = False,
    start_x: Any = None,
    keys: mx.array | None = None,
) -> Adapted:
    """`num_steps` inner steps from theta on one support set, or one for each task.

    Args:
        functional: The model and its loss.
        inner: The settings.
        theta: Where to start.
        state: The inner optimiser's state to start with; {}: fresh.
        support_x: (n, ...), or (num_steps, batch, ...) if `batched`; with an axis of
            tasks in front if `vectorised`. Or what `Functional.prepare_step` gives, a
            list of it if `batched`.
        support_y: Likewise.
        batched: Whether each step has a batch of its own.
        vectorised: Whether there is an axis of tasks.
        start_x: All of the support set, prepared, where `support_x` is in parts.
        keys: (num_steps, 2), see `dropout.step_keys`, with an axis of tasks in front if
            `vectorised`; None: there is no dropout.

    Returns:
        All with an axis of tasks in front if `vectorised`, but for the state's count of
        steps, which all tasks share.
    """
    optimizer = inner.make_optimizer()
    loss = mx.array(0.0)
    gradients: Callable[..., Any] = partial(_gradients, functional, inner)
    with functional.installed():
        support = whole_support(
            support_x, support_y, start_x, batched=batched, vectorised=vectorised
        )
        own = _own_leaves(functional, theta, support, vectorised=vectorised)
        params = theta | own
        if vectorised and inner.num_steps == 0:
            tasks = len(support_y)
            loss = mx.zeros((tasks,))
            params = {
                name: p if name in own else mx.broadcast_to(p, (tasks, *p.shape))
                for name, p in params.items()
            }
        state = optimizer.init(params) | state
        shared = {name: 0 if name in own else None for name in params} if own else None
        for step in range(inner.num_steps):
            x, y = support_x, support_y
            if batched:
                x, y = (x[:, step], y[:, step]) if vectorised else (x[step], y[step])
            key: tuple[mx.array, ...] = ()
            if keys is not None:
                key = (keys[:, step] if vectorised else keys[step],)
            run = gradients
            if vectorised:
                # Only the gradients: vmap would turn the optimiser's constants into
                # arrays, and its kernels with them into strided loops. The first step
                # starts from one theta, the later ones from each task's parameters.
                axes = (0 if step else shared, 0, 0, *(0 for _ in key))
                run = mx.vmap(gradients, in_axes=axes)
            loss, grads = run(params, x, y, *key)
            params, state = optimizer.step(params, grads, state)
    return Adapted(params, state, loss)


def whole_support(
    support_x: Any,
    support_y: mx.array,
    start_x: Any,
    *,
    batched: bool,
    vectorised: bool,
) -> tuple[Any, mx.array]:
    """Inputs and labels of all of the support set that an inner loop is given.

    With inner batches that is what the steps see of it, in their order.

    Args:
        support_x: As for `adapt`.
        support_y: As for `adapt`.
        start_x: As for `adapt`.
        batched: As for `adapt`.
        vectorised: As for `adapt`.
    """
    if not batched:
        return (support_x if start_x is None else start_x), support_y
    axis = 1 if vectorised else 0
    labels = mx.flatten(support_y, axis, axis + 1)
    if start_x is None:
        start_x = mx.flatten(support_x, axis, axis + 1)
    return start_x, labels


def _own_leaves(
    functional: Functional,
    theta: ParamTree,
    support: tuple[Any, mx.array],
    *,
    vectorised: bool,
) -> ParamTree:
    """What the episode starts with beside theta, see `Functional.episode_leaves`."""
    if not functional.starts_episodes:
        return {}
    make: Callable[..., ParamTree] = functional.episode_leaves
    if vectorised:
        make = mx.vmap(make, in_axes=(None, 0, 0))
    return make(theta, *support)
