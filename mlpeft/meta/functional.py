"""A module as a pure function of its trainable parameters."""

from __future__ import annotations

from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Any, TypeAlias

import mlx.core as mx
import mlx.nn as nn
import numpy as np
from mlx.utils import tree_flatten, tree_unflatten

from mlpeft.errors import ShapeError
from mlpeft.meta.adaptation import PLAIN
from mlpeft.meta.dropout import Dropouts
from mlpeft.meta.gradient_checkpoints import GradientCheckpoints
from mlpeft.models.batch_norms import BatchNorms
from mlpeft.models.losses import cross_entropy_loss
from mlpeft.models.pretrained.loss_positions import (
    LOSS_POSITIONS,
    at_loss_positions,
    loss_positions,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mlpeft.meta.adaptation import Adaptation
    from mlpeft.params import Array, MlxTree

    LossFn: TypeAlias = Callable[[mx.array, mx.array], mx.array]

ModelInput: TypeAlias = "mx.array | dict[str, mx.array]"
"""A batch of inputs, or what `Functional.prepare` made of it: arrays by name."""


def get_params(model: nn.Module) -> MlxTree:
    """The trainable leaves of a module by their dotted path, in the order of names."""
    return dict(sorted(tree_flatten(model.trainable_parameters())))


def set_params(model: nn.Module, params: MlxTree) -> None:
    """Put leaves into a module."""
    model.update(tree_unflatten(list(params.items())))


def put_leaves(model: nn.Module, params: MlxTree) -> None:
    """`set_params` for leaves that the module has, faster."""
    for name, leaf in params.items():
        *path, key = name.split(".")
        place: Any = model
        for part in path:
            place = place[int(part)] if isinstance(place, list) else place[part]
        place[key] = leaf


class Functional:
    """Calls a module with parameters that are put in for the call only.

    While `installed()` is entered the module may hold tracers; on leaving it, every
    parameter and buffer is what it was, whatever the module did to itself. Dropout
    layers that are in training mode now are active in inner steps, see
    `mlpeft.meta.dropout`.

    Args:
        model: Any module that maps a batch of inputs to a batch of outputs.
        loss_fn: `(outputs, targets) -> scalar`.
        gradient_checkpointing: Whether layers are computed again for gradients rather
            than kept, see `mlpeft.meta.gradient_checkpoints`.
        adaptation: What the parameters are, and which of them adapt.

    Raises:
        ConfigError: If the adaptation does not go with the model.
    """

    def __init__(
        self,
        model: nn.Module,
        loss_fn: LossFn,
        *,
        gradient_checkpointing: bool = False,
        adaptation: Adaptation = PLAIN,
    ) -> None:
        self.model = model
        self.adaptation = adaptation.bound(model)
        self.loss_fn = loss_fn
        self.norms = BatchNorms(model)
        self.uses_batch_statistics = bool(self.norms) or any(
            getattr(module, "uses_batch_statistics", False)
            for module in model.modules()
        )
        self.starts_episodes = self.adaptation.starts_episodes(model)
        self.prepares = hasattr(model, "prepare")
        # Another loss may look at any output.
        self.picks = loss_fn is cross_entropy_loss and getattr(
            model, "takes_loss_positions", False
        )
        self.dropouts = Dropouts(model)
        self._checkpoints = (
            GradientCheckpoints(model, self.dropouts)
            if gradient_checkpointing
            else None
        )

    @contextmanager
    def installed(self) -> Iterator[None]:
        """Keep the module's own parameters safe while others are put in."""
        own = self.model.parameters()
        try:
            checkpointed = self._checkpoints.active() if self._checkpoints else None
            with self.dropouts.keyed(), checkpointed or nullcontext():
                yield
        finally:
            self.model.update(own)

    def prepare(self, x: Array, y: Array | None = None) -> ModelInput:
        """Inputs as the model takes them, with what no inner step changes computed.

        A module that can prepare inputs has a method `prepare(x)`, x being NumPy's: it
        gives arrays by name, which the module takes in place of x, or None if there is
        nothing to gain. Done once an episode, outside of what is compiled.

        Args:
            x: (n, ...) inputs.
            y: Their targets, if outputs are wanted for the loss of these alone: a model
                that `takes_loss_positions` is then asked for those that count.
        """
        given = np.asarray(x)
        prepared = self.model.prepare(given) if self.prepares else None
        places = None
        if self.picks and y is not None and np.ndim(y) == given.ndim == 2:
            places = loss_positions(np.asarray(y))
        if places is not None:
            prepared = (prepared or {"tokens": given}) | {LOSS_POSITIONS: places}
        if prepared is None:
            return mx.array(x)
        return {name: mx.array(part) for name, part in prepared.items()}

    def predict(self, params: MlxTree, x: ModelInput) -> mx.array:
        """Outputs of the module with these parameters. Call inside `installed()`."""
        set_params(self.model, self.adaptation.model_leaves(params))
        return self.adaptation.call(self.model, params, x)

    def episode_leaves(
        self, theta: MlxTree, support_x: ModelInput, support_y: mx.array
    ) -> MlxTree:
        """Leaves that are no part of theta and that an episode adapts from anew.

        A module that has such leaves (a head made from the support set) says so by a
        method `episode_start(support_x, support_y)`. Call inside `installed()`.
        """
        if not self.starts_episodes:
            return {}
        set_params(self.model, self.adaptation.model_leaves(theta))
        return self.adaptation.episode_start(self.model, support_x, support_y, theta)

    def statistics(
        self, params: MlxTree, x: ModelInput, key: mx.array | None = None
    ) -> MlxTree:
        """Mean and variance (channels,) that each batch norm sees in a batch.

        Call inside `installed()`. Arguments are those of `loss`; names those of
        `BatchNorms.recording`.
        """
        with self.dropouts.drawing(key), self.norms.recording() as seen:
            self.predict(params, x)
        return seen

    def loss(
        self,
        params: MlxTree,
        x: ModelInput,
        y: mx.array,
        key: mx.array | None = None,
    ) -> mx.array:
        """Loss of the module with these parameters. Call inside `installed()`.

        Args:
            params: The parameters.
            x: Inputs.
            y: Targets, of all outputs even if x asks for some.
            key: (2,) uint32, for the masks of dropout; None: dropout is left out.
        """
        with self.dropouts.drawing(key):
            return self.loss_of(self.predict(params, x), at_loss_positions(y, x))

    def loss_of(self, outputs: mx.array, targets: mx.array) -> mx.array:
        """Loss of a batch of outputs.

        Raises:
            ShapeError: If the user's loss is not a scalar.
        """
        loss = self.loss_fn(outputs, targets)
        if isinstance(loss, mx.array) and loss.ndim == 0:
            return loss
        name = getattr(self.loss_fn, "__name__", type(self.loss_fn).__name__)
        array = isinstance(loss, mx.array)
        got = f"an array of shape {tuple(loss.shape)}" if array else repr(loss)
        raise ShapeError(
            f"the loss {name} returned {got}, expected a scalar mx.array: reduce it, "
            "as mx.mean(...) or reduction='mean' does"
        )
