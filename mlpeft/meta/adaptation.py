"""What an inner loop adapts, from what and how: most of what algorithms differ in.

The leaves that an algorithm learns beside the model's (step sizes, curvature, a
context) are part of theta under names of their own, so they travel, are averaged,
checked and saved as theta is. An inner loop has them among its parameters and does not
adapt them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self, TypeVar

if TYPE_CHECKING:
    from collections.abc import Mapping

    import mlx.core as mx
    import mlx.nn as nn
    import numpy as np

    from mlpeft.config import MetaLearningSection
    from mlpeft.meta.functional import ModelInput
    from mlpeft.meta.optimizers import InnerOptimizer
    from mlpeft.params import Array, MlxTree, NumpyTree, ParamTree

LeafT = TypeVar("LeafT")

LEARNED = "learned/"
"""Begins the names of theta's leaves that are not the model's."""
EPISODE = "episode/"
"""Begins the names of an episode's leaves that are not the model's."""


def of_model(params: Mapping[str, LeafT]) -> dict[str, LeafT]:
    """The leaves that are the model's own."""
    return {
        name: leaf
        for name, leaf in params.items()
        if not name.startswith((LEARNED, EPISODE))
    }


@dataclass(frozen=True)
class Adaptation:
    """All leaves of the model adapt, by the configured optimiser: Reptile and MAML.

    Other algorithms override what differs. The parameters that its methods take are
    those of an inner loop: theta's leaves and the episode's own.
    """

    metric = False
    """Whether queries are compared with the support set, and nothing adapts."""

    @classmethod
    def from_config(cls, config: MetaLearningSection) -> Self:  # noqa: ARG003 - others need it
        """As a run is configured."""
        return cls()

    def bound(self, model: nn.Module) -> Adaptation:
        """The same, for this model.

        Raises:
            ConfigError: If it does not go with the model.
        """
        return self

    def theta(self, leaves: Mapping[str, Array]) -> ParamTree:
        """Those of the model's leaves that are part of theta."""
        return dict(leaves)

    def learned(self, theta: NumpyTree, rng: np.random.Generator) -> NumpyTree:
        """What is learned beside the model's leaves, as a run starts.

        Args:
            theta: The model's leaves, float32.
            rng: For leaves that start at random.
        """
        return {}

    def begin(self, theta: MlxTree) -> MlxTree:
        """The parameters that a task starts from, without an axis of tasks."""
        return theta

    def adapting(self, params: MlxTree) -> list[str] | None:
        """Names of the parameters that the inner steps change; None: all."""
        return None

    def optimizer(self, inner: InnerOptimizer) -> InnerOptimizer:
        """What takes the inner steps, made of the configured optimiser."""
        return inner

    def model_leaves(self, params: MlxTree) -> MlxTree:
        """The model's leaves at these parameters."""
        return params

    def call(self, model: nn.Module, params: MlxTree, x: ModelInput) -> mx.array:
        """Outputs for a batch; the model has its leaves."""
        output: mx.array = model(x)
        return output

    def starts_episodes(self, model: nn.Module) -> bool:
        """Whether an episode has leaves of its own."""
        return hasattr(model, "episode_start")

    def episode_start(
        self,
        model: Any,
        x: ModelInput,
        y: mx.array,
        theta: MlxTree,
    ) -> MlxTree:
        """Those leaves, of the support set; the model has theta's leaves."""
        leaves: MlxTree = model.episode_start(x, y)
        return leaves

    def adapter_leaves(self, params: MlxTree) -> MlxTree:
        """The leaves that an adapted model consists of.

        Raises:
            ConfigError: If it consists of more than leaves.
        """
        return self.model_leaves(params)

    def loss_weights(self, steps: int, iteration: int) -> np.ndarray | None:
        """Weights (steps,) of the queries' loss after each inner step, in training.

        None: only the loss after the last step counts.
        """
        return None


PLAIN = Adaptation()


@dataclass(frozen=True)
class Selective(Adaptation):
    """The model's parameters adapt, or fewer, beside others that do not."""

    def adapts(self, name: str) -> bool:
        """Whether a leaf of the model adapts."""
        return not name.startswith((LEARNED, EPISODE))

    def adapting(self, params: MlxTree) -> list[str] | None:
        """The names for which `adapts` holds."""
        return [name for name in params if self.adapts(name)]

    def optimizer(self, inner: InnerOptimizer) -> InnerOptimizer:
        """The configured one, on what adapts."""
        return Partial(inner, self)

    def model_leaves(self, params: MlxTree) -> MlxTree:
        """Without what is not the model's."""
        return of_model(params)


@dataclass(frozen=True, slots=True)
class Partial:
    """An inner optimiser that leaves some parameters as they are.

    Attributes:
        optimizer: Moves the others.
        adaptation: Says which.
    """

    optimizer: InnerOptimizer
    adaptation: Selective

    def init(self, params: MlxTree) -> ParamTree:
        """The state of what adapts."""
        adapting = self.adaptation.adapting(params) or ()
        return self.optimizer.init({name: params[name] for name in adapting})

    def step(
        self, params: MlxTree, grads: MlxTree, state: ParamTree
    ) -> tuple[MlxTree, ParamTree]:
        """One step of the parameters that have a gradient."""
        own = {name: params[name] for name in grads}
        moved, state = self.optimizer.step(own, grads, state)
        return params | moved, state
