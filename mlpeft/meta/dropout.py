"""Dropout whose masks follow from a task's seed, whoever computes it.

MLX's dropout draws from a global generator, which `mx.compile` freezes and `mx.vmap`
shares over tasks. Here each inner step of each task has a key, and each layer a number:
the mask is drawn from both. Queries are always seen without dropout.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import mlx.core as mx
import mlx.nn as nn
import numpy as np
from mlx.utils import tree_unflatten

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_CHANNELS = {nn.Dropout: 0, nn.Dropout2d: 2, nn.Dropout3d: 3}
"""The layers, and how many axes before the last share a mask."""


class Masks:
    """The key that masks are drawn from at this moment; None: there is no dropout."""

    def __init__(self) -> None:
        self.key: mx.array | None = None
        self.layers = 0


class KeyedDropout(nn.Module):
    """Stands in for a dropout layer and draws its masks from a key.

    Args:
        layer: An `nn.Dropout`, or one of its kin that drops whole channels.
        masks: Has the key.
    """

    def __init__(self, layer: nn.Module, masks: Masks) -> None:
        super().__init__()
        self.keep = _keep(layer)
        self.channels = _CHANNELS[type(layer)]
        self.number = masks.layers
        masks.layers += 1
        self._masks = masks

    def __call__(self, x: mx.array) -> mx.array:
        """X with some of its numbers zero and the others made larger; any shape."""
        masks = self._masks
        if masks.key is None:
            return x
        shape = list(x.shape)
        for axis in range(-1 - self.channels, -1):
            shape[axis] = 1
        key = mx.random.split(masks.key, masks.layers)[self.number]
        kept = mx.random.bernoulli(self.keep, shape, key=key)
        return (kept * x) * (1.0 / self.keep)


class Dropouts:
    """The dropout layers of a model that are to be active.

    Args:
        model: Any module; its layers in training mode with a probability above zero are
            meant.
    """

    def __init__(self, model: nn.Module) -> None:
        self._model = model
        self._masks = Masks()
        self._own = {
            path: module
            for path, module in sorted(model.named_modules())
            if path
            and type(module) in _CHANNELS
            and module.training
            and _keep(module) < 1.0
        }
        self._keyed = {
            path: KeyedDropout(module, self._masks)
            for path, module in self._own.items()
        }

    def __bool__(self) -> bool:
        return bool(self._own)

    @property
    def key(self) -> mx.array | None:
        """The key that masks are drawn from at this moment."""
        return self._masks.key

    @contextmanager
    def keyed(self) -> Iterator[None]:
        """Have the model draw masks from keys, and after it be what it was."""
        self._put(self._keyed)
        try:
            yield
        finally:
            self._put(self._own)

    @contextmanager
    def drawing(self, key: mx.array | None) -> Iterator[None]:
        """Draw masks from this key (2,) uint32; None: leave dropout out."""
        before = self._masks.key
        self._masks.key = key
        try:
            yield
        finally:
            self._masks.key = before

    def _put(self, modules: dict[str, nn.Module]) -> None:
        if modules:
            self._model.update_modules(tree_unflatten(list(modules.items())))


def step_keys(steps: int, make_rng: Callable[[], np.random.Generator]) -> np.ndarray:
    """The keys of a task's inner steps.

    Args:
        steps: How many; fewer steps have the first of them.
        make_rng: Makes the task's generator. The keys are of a stream of their own
            beside it: the order of inner batches comes from the generator itself.

    Returns:
        (steps, 2) uint32.
    """
    (rng,) = make_rng().spawn(1)
    return rng.integers(1 << 32, size=(steps, 2), dtype=np.uint32)


def _keep(layer: nn.Module) -> float:
    """The probability that a number stays."""
    keep: float = layer._p_1  # noqa: SLF001 - MLX has no other name for it
    return keep
