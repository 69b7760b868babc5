"""Optimisers of the inner loop, as pure functions on parameter trees.

`mlx.optimizers` keep their state in themselves; these take it and give it back, so that
`mx.vmap` and `mx.compile` see through a whole inner loop.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import mlx.core as mx

from mlpeft.config import MetaLearningSection

if TYPE_CHECKING:
    from mlpeft.params import MlxTree, ParamTree

_DEFAULTS = MetaLearningSection()


class InnerOptimizer(Protocol):
    """One gradient step, without side effects.

    A state's leaves are arrays, but for a count of steps that starts as a number.
    """

    def init(self, params: MlxTree) -> ParamTree:
        """The state before the first step: leaves named after what they belong to."""
        ...

    def step(
        self, params: MlxTree, grads: MlxTree, state: ParamTree
    ) -> tuple[MlxTree, ParamTree]:
        """Parameters and state after one step."""
        ...


@dataclass(frozen=True, slots=True)
class SGD:
    """`p <- p - lr g`, without state."""

    lr: float

    def init(self, params: MlxTree) -> ParamTree:
        """SGD has no state."""
        return {}

    def step(
        self, params: MlxTree, grads: MlxTree, state: ParamTree
    ) -> tuple[MlxTree, ParamTree]:
        """One step of gradient descent."""
        return {k: p - self.lr * grads[k] for k, p in params.items()}, state


@dataclass(frozen=True, slots=True)
class Adam:
    """Adam with bias correction, for any beta1 in [0, 1).

    With beta1 = 0, as in the Reptile paper's image experiments, there is no first
    moment, and the first step from fresh moments is `lr sign(g)`.

    State: `step` (scalar, steps so far), `v/<leaf>`, and `m/<leaf>` if beta1 > 0.

    References:
        Kingma and Ba, "Adam", 2015, arXiv 1412.6980, algorithm 1.
    """

    lr: float
    beta1: float = _DEFAULTS.inner_beta1
    beta2: float = _DEFAULTS.inner_beta2
    eps: float = 1e-8

    def init(self, params: MlxTree) -> ParamTree:
        """Zero moments. `step` is a Python number until the first carried step."""
        state: ParamTree = {"step": 0.0}
        state |= {f"v/{name}": mx.zeros_like(p) for name, p in params.items()}
        if self.beta1:
            state |= {f"m/{name}": mx.zeros_like(p) for name, p in params.items()}
        return state

    def step(
        self, params: MlxTree, grads: MlxTree, state: ParamTree
    ) -> tuple[MlxTree, ParamTree]:
        """`p <- p - lr m_hat / (sqrt(v_hat) + eps)`."""
        step = state["step"] + 1.0
        unbias1 = 1.0 / (1.0 - self.beta1**step)
        unbias2 = 1.0 / (1.0 - self.beta2**step)
        new_state: ParamTree = {"step": step}
        new_params: MlxTree = {}
        for name, p in params.items():
            g = grads[name]
            v = self.beta2 * state[f"v/{name}"] + (1.0 - self.beta2) * mx.square(g)
            new_state[f"v/{name}"] = v
            change = g
            if self.beta1:
                m = self.beta1 * state[f"m/{name}"] + (1.0 - self.beta1) * g
                new_state[f"m/{name}"] = m
                change = m * unbias1
            new_params[name] = p - self.lr * change / (mx.sqrt(v * unbias2) + self.eps)
        return new_params, new_state


def clip_by_global_norm(grads: MlxTree, max_norm: float) -> MlxTree:
    """`g min(1, max_norm / |g|)` with the Euclidean norm over all leaves."""
    squares = [mx.sum(mx.square(grads[name])) for name in sorted(grads)]
    norm = mx.sqrt(sum(squares[1:], squares[0]))
    factor = mx.minimum(max_norm / (norm + 1e-12), 1.0)
    return {name: g * factor for name, g in grads.items()}
