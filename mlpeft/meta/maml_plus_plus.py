"""MAML++: step sizes for each leaf and step, and a loss after each step.

`theta_{k+1} = theta_k - rate_k * dL/dtheta_k` with a learned number for each leaf and
step k, and the meta-gradient of `sum_k w_k L_query(theta_k)`. The weights are equal at
first and move linearly to the last step alone (the paper's multi-step loss and its
annealing). Scale and shift of batch normalisation take a learned step of their own in
each inner step, in place of a gradient step, so that each has its own values. With
`batch_norm: per-step` each step has statistics of its own at evaluation, too.

References:
    Antoniou, Edwards and Storkey, "How to train your MAML", 2019, arXiv 1810.09502,
    section 4.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Self

import mlx.core as mx
import mlx.nn as nn
import numpy as np

from mlpeft.meta.adaptation import LEARNED, Selective

if TYPE_CHECKING:
    from mlpeft.config import MetaLearningSection
    from mlpeft.meta.optimizers import InnerOptimizer
    from mlpeft.params import Array, MlxTree, NumpyTree, ParamTree

RATE = LEARNED + "rate/"
NORM_STEP = LEARNED + "norm_step/"


@dataclass(frozen=True)
class StepwiseRates(Selective):
    """The model's leaves adapt, those of batch norms by steps that are learned.

    Attributes:
        lr: Where the step sizes start.
        steps: Inner steps of training: later ones take the last one's step sizes.
        annealed: Meta-iterations after which only the last step's loss counts.
        per_step_norm: Whether batch norms have values of their own in each step.
        norms: Names of their leaves, once a model is known.
    """

    lr: float = 0.0
    steps: int = 1
    annealed: int = 0
    per_step_norm: bool = True
    norms: tuple[str, ...] = ()

    @classmethod
    def from_config(cls, config: MetaLearningSection) -> Self:
        """As a run is configured."""
        return cls(
            config.inner_lr,
            config.num_inner_steps,
            config.multi_step_iterations,
            config.per_step_norm,
        )

    def bound(self, model: nn.Module) -> Self:
        """With the names of the model's batch norms."""
        if not self.per_step_norm:
            return self
        return replace(self, norms=tuple(_norm_leaves(model)))

    def adapts(self, name: str) -> bool:
        """Whether a leaf is the model's, and no batch norm's."""
        return super().adapts(name) and name not in self.norms

    def learned(self, theta: NumpyTree, rng: np.random.Generator) -> NumpyTree:
        """A step size for each leaf and step, and the steps of the batch norms."""
        leaves: NumpyTree = {}
        for name, leaf in theta.items():
            for step in range(self.steps):
                if name in self.norms:
                    leaves[_at(NORM_STEP, step, name)] = np.zeros_like(leaf)
                else:
                    one = np.full((1,) * leaf.ndim, self.lr, np.float32)
                    leaves[_at(RATE, step, name)] = one
        return leaves

    def optimizer(self, inner: InnerOptimizer) -> InnerOptimizer:
        """Gradient descent with the step sizes of each step."""
        return StepwiseDescent(self)

    def loss_weights(self, steps: int, iteration: int) -> np.ndarray | None:
        """From equal weights of all steps to the last step alone, linearly."""
        if steps < 2 or iteration >= self.annealed:
            return None
        last = np.zeros(steps, np.float32)
        last[-1] = 1.0
        equal = np.full(steps, 1.0 / steps, np.float32)
        done = np.float32(iteration / self.annealed)
        return equal + (last - equal) * done


@dataclass(frozen=True, slots=True)
class StepwiseDescent:
    """Gradient descent with a step size for each leaf and step.

    State: `step`, the steps so far.
    """

    adaptation: StepwiseRates

    def init(self, params: MlxTree) -> ParamTree:
        """No step is taken."""
        return {"step": 0.0}

    def step(
        self, params: MlxTree, grads: MlxTree, state: ParamTree
    ) -> tuple[MlxTree, ParamTree]:
        """One step of what has a gradient, and of the batch norms."""
        steps, done = self.adaptation.steps, state["step"]

        def at_step(prefix: str, name: str) -> list[mx.array]:
            names = [_at(prefix, step, name) for step in range(steps)]
            return [params[one] for one in names if one in params]

        moved = {}
        for name, g in grads.items():
            rates = at_step(RATE, name)
            rate = _pick(rates, done) if rates else self.adaptation.lr
            moved[name] = params[name] - rate * g
        for name in self.adaptation.norms:
            changes = at_step(NORM_STEP, name)
            if changes:
                # After the last step that was trained they stay.
                changes.append(mx.zeros_like(changes[0]))
                moved[name] = params[name] + _pick(changes, done)
        return params | moved, {"step": done + 1.0}


def _at(prefix: str, step: int, name: str) -> str:
    return f"{prefix}{step}/{name}"


def _pick(leaves: list[mx.array], step: Array) -> mx.array:
    """The leaf of a step, the last one's for later steps; `step` may be traced."""
    last = len(leaves) - 1
    if isinstance(step, float):
        return leaves[min(int(step), last)]
    place = mx.minimum(step, float(last)).astype(mx.int32)
    return mx.stack(leaves)[place]


def _norm_leaves(model: nn.Module) -> list[str]:
    """Names of the trained leaves of modules that normalise by the batch."""
    names = []
    for path, module in model.named_modules():
        trained = module.trainable_parameters()
        if isinstance(module, nn.BatchNorm):
            wanted = ("weight", "bias")
        elif "gamma" in module and "beta" in module:  # mlpeft's own blocks
            wanted = ("gamma", "beta")
        else:
            continue
        names += [f"{path}.{key}" for key in wanted if key in trained]
    return sorted(names)
