"""The outer step: from what a round came to, to the next meta-state.

NumPy in float32 and in a fixed order, so that a coordinator needs no accelerator and
gets the same bits for the same updates.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple, Self

import numpy as np

from mlpeft import params
from mlpeft.config import MetaLearningSection
from mlpeft.meta.algorithms import ALGORITHMS
from mlpeft.meta.state import join, split

if TYPE_CHECKING:
    from mlpeft.config.algorithms import AlgorithmName
    from mlpeft.meta.compression import Compression
    from mlpeft.params import NumpyTree

Schedule = Literal["constant", "linear", "cosine"]

_DEFAULTS = MetaLearningSection()


def scheduled(
    schedule: Schedule, first: float, final: float, done: int, iterations: int
) -> float:
    """`outer_lr` of one meta-iteration.

    linear: `first (1 - t) + final t` (the paper's); cosine: `final + (first - final)
    (1 + cos(pi t)) / 2`, with `t = done / iterations`.

    Args:
        schedule: The course.
        first: Value at the start.
        final: Value at the end (constant never gets there).
        done: Meta-iterations already done.
        iterations: Meta-iterations in all.
    """
    fraction = done / iterations
    match schedule:
        case "constant":
            return first
        case "linear":
            return first * (1.0 - fraction) + final * fraction
        case "cosine":
            return final + (first - final) * 0.5 * (1.0 + math.cos(math.pi * fraction))


class OuterResult(NamedTuple):
    """The next meta-state, and how far theta moved.

    Attributes:
        meta: Theta and carried inner state after the step.
        param_diff: Euclidean norm of theta's change.
        outer_lr: The step size that was used.
        step: How `meta` follows from the one before in fewer bytes; {}: the run does
            not compress.
    """

    meta: NumpyTree
    param_diff: float
    outer_lr: float
    step: NumpyTree


@dataclass(slots=True, kw_only=True)
class OuterStep:
    """The outer optimiser on an algorithm's pseudo-gradient.

    Attributes:
        algorithm: What makes a pseudo-gradient of what the tasks returned.
        lr: `outer_lr`.
        optimizer: "sgd", Reptile's interpolation; "nesterov", DiLoCo's; or "adam"
            (beta1 0.9, beta2 0.999).
        momentum: Of nesterov.
        schedule: Course of the step size.
        lr_final: Its end.
        iterations: Meta-iterations of the run.
        clip: Largest global norm of the pseudo-gradient; None: no limit.
        compression: What steps are rounded by; None: nothing.
        state: The optimiser's moments: `m/<leaf>`, and of Adam `v/<leaf>`; and what
            rounding has lost so far: `residual/<leaf>`.
    """

    algorithm: AlgorithmName = _DEFAULTS.algorithm
    lr: float = _DEFAULTS.outer_lr
    optimizer: Literal["sgd", "nesterov", "adam"] = _DEFAULTS.outer_optimizer
    momentum: float = _DEFAULTS.outer_momentum
    schedule: Schedule = _DEFAULTS.outer_schedule
    lr_final: float = _DEFAULTS.outer_lr_final
    iterations: int = _DEFAULTS.num_meta_iterations
    clip: float | None = _DEFAULTS.update_clip
    compression: Compression | None = None
    state: NumpyTree

    @classmethod
    def from_config(
        cls, config: MetaLearningSection, compression: Compression | None = None
    ) -> Self:
        """The outer step of a run, before its first iteration."""
        return cls(
            algorithm=config.algorithm,
            lr=config.outer_lr,
            optimizer=config.outer_optimizer,
            momentum=config.outer_momentum,
            schedule=config.outer_schedule,
            lr_final=config.outer_lr_final,
            iterations=config.num_meta_iterations,
            clip=config.update_clip,
            compression=compression,
            state={},
        )

    def lr_at(self, done: int) -> float:
        """The step size after `done` meta-iterations."""
        return scheduled(self.schedule, self.lr, self.lr_final, done, self.iterations)

    def step(self, meta: NumpyTree, mean: NumpyTree, done: int) -> OuterResult:
        """One outer step.

        Args:
            meta: Theta and carried inner state before the round, NumPy float32.
            mean: What `aggregate.combine` made of the round's updates.
            done: Meta-iterations done before this one.
        """
        theta, _ = split(meta)
        mean_theta, mean_state = split(mean)
        algorithm = ALGORITHMS[self.algorithm]
        gradient = algorithm.pseudo_gradient(theta, mean_theta)
        if self.clip is not None:
            norm = params.global_norm(gradient)
            if norm > self.clip:
                gradient = params.scale(gradient, np.float32(self.clip / norm))
        lr = self.lr_at(done)
        # Of a serial algorithm theta took its steps within the shards.
        change = gradient if algorithm.serial else self._change(gradient, lr, done)
        step: NumpyTree = {}
        if self.compression is not None:
            step, change = self._rounded(self.compression, theta, change, done)
            step |= join({}, mean_state)
        new_theta = params.subtract(theta, change)
        return OuterResult(join(new_theta, mean_state), _length(change), lr, step)

    def _rounded(
        self, compression: Compression, theta: NumpyTree, change: NumpyTree, done: int
    ) -> tuple[NumpyTree, NumpyTree]:
        """A change in fewer bytes, and as it comes out of them; the rest is kept."""
        lost = {
            name: self.state[f"residual/{name}"]
            for name in theta
            if f"residual/{name}" in self.state
        }
        step, change, residual = compression.step(theta, change, lost, done)
        self.state |= {f"residual/{name}": leaf for name, leaf in residual.items()}
        return step, change

    def _change(self, gradient: NumpyTree, lr: float, done: int) -> NumpyTree:
        """What the optimiser takes from theta."""
        match self.optimizer:
            case "sgd":
                return params.scale(gradient, np.float32(lr))
            case "nesterov":
                return self._nesterov(gradient, lr)
            case "adam":
                return self._adam(gradient, lr, done)

    def _nesterov(self, gradient: NumpyTree, lr: float) -> NumpyTree:
        """The change `lr (g + mu m')` with `m' = mu m + g`, where m begins at 0.

        Under a gradient that stays the same it grows to `lr / (1 - mu)` of it.

        References:
            Sutskever, Martens, Dahl and Hinton, "On the importance of initialization
            and momentum in deep learning", ICML 2013, with the velocity of PyTorch's
            SGD, which the step size does not scale; Douillard et al., "DiLoCo", 2023,
            arXiv 2311.08105 (algorithm 1; mu 0.9 and step size 0.7).
        """
        mu, rate = np.float32(self.momentum), np.float32(lr)
        change: NumpyTree = {}
        for name, g in gradient.items():
            m = mu * self.state.get(f"m/{name}", np.zeros_like(g)) + g
            self.state[f"m/{name}"] = m
            change[name] = rate * (g + mu * m)
        return change

    def _adam(self, gradient: NumpyTree, lr: float, done: int) -> NumpyTree:
        """The change `lr m_hat / (sqrt(v_hat) + eps)` (Kingma and Ba, algorithm 1)."""
        beta1, beta2, eps = np.float32(0.9), np.float32(0.999), np.float32(1e-8)
        bias1 = np.float32(1.0 - 0.9 ** (done + 1))
        bias2 = np.float32(1.0 - 0.999 ** (done + 1))
        one = np.float32(1.0)
        change: NumpyTree = {}
        for name, g in gradient.items():
            zero = np.zeros_like(g)
            m = beta1 * self.state.get(f"m/{name}", zero) + (one - beta1) * g
            v = beta2 * self.state.get(f"v/{name}", zero) + (one - beta2) * g * g
            self.state[f"m/{name}"], self.state[f"v/{name}"] = m, v
            change[name] = np.float32(lr) * (m / bias1) / (np.sqrt(v / bias2) + eps)
        return change


_LANES = 16


def _length(change: NumpyTree) -> float:
    """Euclidean norm over all leaves in float64, in the order of native code.

    A leaf's squares are summed in 16 lanes; then what remains of it, then the lanes.
    """
    total = 0.0
    for name in sorted(change):
        squares = np.square(change[name].ravel(), dtype=np.float64)
        whole = squares.size - squares.size % _LANES
        lanes = np.add.reduce(squares[:whole].reshape(-1, _LANES), axis=0)
        total += sum([*squares[whole:].tolist(), *lanes.tolist()])
    return math.sqrt(total)
