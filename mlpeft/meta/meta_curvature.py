"""Meta-curvature: a learned matrix for each axis of a leaf transforms its gradient.

`theta' = theta - alpha M(G)`: the gradient G of a vector becomes `M G`, that of a
matrix (outputs, inputs) `M_0 G M_1^T`, and so on. (The paper has one matrix over
all places of a convolution's kernel; here its height and its width have one each.) They
start as the identity, which is MAML; the meta-gradient, MAML's, is of theta and of the
matrices.

References:
    Park and Oliva, "Meta-Curvature", 2019, arXiv 1902.03356, section 3 (MC2).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import mlx.core as mx
import numpy as np

from mlpeft.errors import ConfigError
from mlpeft.meta.adaptation import LEARNED, Partial, Selective
from mlpeft.meta.functional import get_params

if TYPE_CHECKING:
    import mlx.nn as nn

    from mlpeft.config import MetaLearningSection
    from mlpeft.meta.optimizers import InnerOptimizer
    from mlpeft.params import MlxTree, NumpyTree, ParamTree

CURVATURE = LEARNED + "curvature/"
MOST_ROWS = 2048
"""Longest axis that may have a matrix: of 16 MiB."""


@dataclass(frozen=True)
class Curvature(Selective):
    """All of the model's leaves adapt, along transformed gradients."""

    @classmethod
    def from_config(cls, config: MetaLearningSection) -> Self:  # noqa: ARG003
        """As a run is configured."""
        return cls()

    def bound(self, model: nn.Module) -> Self:
        """The same, if no matrix would be too large."""
        for name, leaf in get_params(model).items():
            if max(leaf.shape, default=1) > MOST_ROWS:
                raise ConfigError(
                    f"meta_learning.algorithm: meta_curvature learns a square matrix "
                    f"for each axis of a leaf, and {name} has shape "
                    f"{tuple(leaf.shape)}, more than {MOST_ROWS}; train less with "
                    "peft.method, or take meta_sgd"
                )
        return self

    def learned(self, theta: NumpyTree, rng: np.random.Generator) -> NumpyTree:
        """The identity for each axis of each leaf."""
        return {
            f"{CURVATURE}{axis}/{name}": np.eye(rows, dtype=np.float32)
            for name, leaf in theta.items()
            for axis, rows in enumerate(leaf.shape)
        }

    def optimizer(self, inner: InnerOptimizer) -> InnerOptimizer:
        """The configured one, along transformed gradients."""
        return CurvedStep(Partial(inner, self))


@dataclass(frozen=True, slots=True)
class CurvedStep:
    """Transforms gradients before the step.

    Attributes:
        optimizer: Takes the step.
    """

    optimizer: InnerOptimizer

    def init(self, params: MlxTree) -> ParamTree:
        """The optimiser's."""
        return self.optimizer.init(params)

    def step(
        self, params: MlxTree, grads: MlxTree, state: ParamTree
    ) -> tuple[MlxTree, ParamTree]:
        """One step."""
        curved = {name: _transformed(params, name, g) for name, g in grads.items()}
        return self.optimizer.step(params, curved, state)


def _transformed(params: MlxTree, name: str, gradient: mx.array) -> mx.array:
    """A gradient along the matrices of its leaf; both may have an axis of tasks."""
    matrices: list[mx.array] = []
    while (key := f"{CURVATURE}{len(matrices)}/{name}") in params:
        matrices.append(params[key])
    before = gradient.ndim - len(matrices)  # none: a leaf that the episode started with
    for axis, matrix in enumerate(matrices):
        rows = mx.moveaxis(gradient, before + axis, -1)[..., None, :]
        # One for all tasks, or one a task for all other axes.
        tasks = matrix.shape[:-2]
        between = (1,) * (len(matrices) - 1) if tasks else ()
        turned = matrix.swapaxes(-1, -2).reshape(*tasks, *between, *matrix.shape[-2:])
        rows = (rows @ turned)[..., 0, :]
        gradient = mx.moveaxis(rows, -1, before + axis)
    return gradient
