"""CAVIA: a task adapts a context of a few numbers, and the network stays theta's.

`phi <- phi - alpha dL/dphi` from `phi = 0`, where phi shifts some vectors of the
network (a bias, the scale and shift of a norm): `b' = b + W phi`. For the bias of the
first layer that is the paper's network with phi beside its input. The meta-gradient,
MAML's, is of theta and of W.

References:
    Zintgraf, Shiarlis, Kurin, Hofmann and Whiteson, "Fast Context Adaptation via
    Meta-Learning", 2019, arXiv 1810.03642, section 3.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Self

import mlx.core as mx
import numpy as np

from mlpeft.errors import ConfigError
from mlpeft.meta.adaptation import EPISODE, LEARNED, Selective, of_model
from mlpeft.meta.functional import get_params

if TYPE_CHECKING:
    import mlx.nn as nn

    from mlpeft.config import MetaLearningSection
    from mlpeft.params import MlxTree, NumpyTree

CONTEXT = EPISODE + "context"
WEIGHT = LEARNED + "context/"


@dataclass(frozen=True)
class Context(Selective):
    """The context adapts.

    Attributes:
        size: Numbers of a context.
        named: `meta_learning.context_leaves`.
        shifted: Names of the leaves that a context shifts, once a model is known.
    """

    size: int = 1
    named: tuple[str, ...] | None = None
    shifted: tuple[str, ...] = ()

    @classmethod
    def from_config(cls, config: MetaLearningSection) -> Self:
        """As a run is configured."""
        named = config.context_leaves
        return cls(config.context_size, None if named is None else tuple(named))

    def bound(self, model: nn.Module) -> Self:
        """With the leaves that a context shifts."""
        shifted = _vectors(model, self.named)
        if not shifted:
            raise ConfigError(
                "meta_learning.algorithm: cavia shifts trained vectors (a bias, the "
                "scale and shift of a norm), and this model has none"
                + ("" if self.named is None else f" named {', '.join(self.named)}...")
                + "; choose another peft.method or meta_learning.context_leaves"
            )
        return replace(self, shifted=shifted)

    def adapts(self, name: str) -> bool:
        """Whether it is the context."""
        return name == CONTEXT

    def learned(self, theta: NumpyTree, rng: np.random.Generator) -> NumpyTree:
        """W of each leaf, (numbers of the leaf, size), as a layer of `size` inputs."""
        limit = 1.0 / math.sqrt(self.size)
        return {
            WEIGHT + name: rng.uniform(
                -limit, limit, (len(theta[name]), self.size)
            ).astype(np.float32)
            for name in self.shifted
        }

    def begin(self, theta: MlxTree) -> MlxTree:
        """Theta, and a context of zeros."""
        return theta | {CONTEXT: mx.zeros((self.size,))}

    def model_leaves(self, params: MlxTree) -> MlxTree:
        """The model's leaves, shifted."""
        leaves = of_model(params)
        if CONTEXT not in params:  # no task has begun
            return leaves
        shifts = {
            name: leaves[name] + params[WEIGHT + name] @ params[CONTEXT]
            for name in self.shifted
        }
        return leaves | shifts


def _vectors(model: nn.Module, named: tuple[str, ...] | None) -> tuple[str, ...]:
    """Trained leaves with one axis: those named, or those of one layer.

    That is the first, but behind convolutions the last: a batch norm there takes back
    much of what the first shifts.
    """
    leaves = get_params(model)
    vectors = [name for name, leaf in leaves.items() if leaf.ndim == 1]
    if named is not None:
        return tuple(name for name in vectors if name.startswith(named))
    convolutions = [name for name, leaf in leaves.items() if leaf.ndim > 2]
    if convolutions:
        last = convolutions[-1].rpartition(".")[0]
        return _near(last, [name for name in vectors if name != f"{last}.bias"])
    layers = [name.rpartition(".")[0] for name in vectors]
    return tuple(
        name for name, layer in zip(vectors, layers, strict=True) if layer == layers[0]
    )


def _near(module: str, vectors: list[str]) -> tuple[str, ...]:
    """The vectors of a module, or of the smallest one around it that has some."""
    found = tuple(name for name in vectors if name.startswith(f"{module}."))
    if found or not module:
        return found or tuple(vectors)
    return _near(module.rpartition(".")[0], vectors)
