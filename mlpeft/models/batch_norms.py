"""The batch norms of a model: what they normalise by, and what they see.

A batch norm takes mean and variance of the batch at hand. For as long as a context is
entered, all of a model's record them, or take others in their place.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, cast

import mlx.core as mx
import mlx.nn as nn

from mlpeft.models.ops import batch_norm_relu
from mlpeft.models.ops.norm import EPS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from mlpeft.params import MlxTree

MEAN, VAR = "/mean", "/var"
"""Follow a layer's path in the names of its statistics."""


class Moments:
    """Mean and biased variance of each channel of what a batch norm is given.

    Attributes:
        mean: (c,); None: not known yet.
        var: (c,); likewise.
        given: Whether they take the place of the batch's; else they are recorded.
    """

    def __init__(
        self, mean: mx.array | None = None, var: mx.array | None = None
    ) -> None:
        self.mean, self.var = mean, var
        self.given = mean is not None

    def standardised(self, x: mx.array, eps: float) -> mx.array | None:
        """`(x - mean) / sqrt(var + eps)`; None if the batch's own are to be taken.

        Args:
            x: (..., c).
            eps: Added to the variance.
        """
        if self.mean is not None and self.var is not None and self.given:
            return (x - self.mean) * mx.rsqrt(self.var + eps)
        axes = tuple(range(x.ndim - 1))
        self.mean, self.var = mx.mean(x, axis=axes), mx.var(x, axis=axes)
        return None


class BatchNormed(nn.Module):
    """A layer that ends in a batch norm and a ReLU.

    Args:
        filters: Channels.
    """

    moments: Moments | None = None

    def __init__(self, filters: int) -> None:
        super().__init__()
        self.gamma = mx.ones((filters,))
        self.beta = mx.zeros((filters,))

    def normalised(self, x: mx.array) -> mx.array:
        """`max(gamma z + beta, 0)` of the standardised z of x, (n, h, w, c)."""
        standard = None if self.moments is None else self.moments.standardised(x, EPS)
        if standard is None:
            return batch_norm_relu(x, self.gamma, self.beta)
        return mx.maximum(standard * self.gamma + self.beta, 0.0)


class BatchNorms:
    """The layers of a model that normalise by the statistics of a batch.

    Args:
        model: Any module; its `nn.BatchNorm` in training mode are meant, and mlpeft's
            own.
    """

    def __init__(self, model: nn.Module) -> None:
        self._layers: dict[str, Any] = {
            path: module
            for path, module in sorted(model.named_modules())
            if isinstance(module, BatchNormed)
            or (isinstance(module, nn.BatchNorm) and module.training)
        }

    def __bool__(self) -> bool:
        return bool(self._layers)

    def channels(self) -> dict[str, int]:
        """The number of channels of each layer, by its path."""
        return {
            path: layer.gamma.size
            if isinstance(layer, BatchNormed)
            else layer.num_features
            for path, layer in self._layers.items()
        }

    @contextmanager
    def recording(self) -> Iterator[MlxTree]:
        """Record the statistics of the batch that the model is called with.

        Gives:
            Filled on leaving: mean and variance (c,) by `PATH/mean` and `PATH/var`.
        """
        seen: MlxTree = {}
        moments = {path: Moments() for path in self._layers}
        with self._put(moments):
            yield seen
        for path, found in moments.items():
            if found.mean is not None and found.var is not None:
                seen |= {path + MEAN: found.mean, path + VAR: found.var}

    @contextmanager
    def normalising(self, statistics: Mapping[str, mx.array]) -> Iterator[None]:
        """Normalise by these, named as `recording` does; {}: by the batch's."""
        moments = {
            path: Moments(statistics[path + MEAN], statistics[path + VAR])
            for path in self._layers
            if statistics
        }
        with self._put(moments):
            yield

    def keep(self, statistics: Mapping[str, mx.array]) -> None:
        """Normalise by these from now on; {}: as before."""
        if not statistics:
            return
        for path, layer in self._layers.items():
            mean, var = statistics[path + MEAN], statistics[path + VAR]
            if isinstance(layer, BatchNormed):
                layer.moments = Moments(mean, var)
            else:
                layer.running_mean, layer.running_var = mean, var
                layer.eval()

    @contextmanager
    def _put(self, moments: Mapping[str, Moments]) -> Iterator[None]:
        layers = {path: self._layers[path] for path in moments}
        kinds = {path: type(layer) for path, layer in layers.items()}
        try:
            for path, layer in layers.items():
                layer.moments = moments[path]
                if isinstance(layer, nn.BatchNorm):
                    # The instance alone becomes another: its leaves keep their paths.
                    layer.__class__ = _with_moments(kinds[path])
            yield
        finally:
            for path, layer in layers.items():
                layer.__class__ = kinds[path]
                del layer.moments


def _with_moments(kind: type[nn.Module]) -> type[nn.Module]:
    """MLX's batch norm, or a user's of its kind, that heeds `moments`."""

    def call(layer: Any, x: mx.array) -> mx.array:
        output: mx.array | None = layer.moments.standardised(x, layer.eps)
        if output is None:
            return cast("mx.array", kind.__call__(layer, x))
        if "weight" in layer:
            output = layer.weight * output + layer.bias
        return cast("mx.array", output)

    return type(kind.__name__, (kind,), {"__call__": call})
