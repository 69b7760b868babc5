"""Functions with a custom gradient, or with vectorisation by one call."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias, TypeVar, cast

import mlx.core as mx

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    Outputs: TypeAlias = tuple[mx.array, ...]
    Gradients: TypeAlias = mx.array | tuple[mx.array, ...]
    """One for each argument."""

FunctionT = TypeVar("FunctionT", bound="Callable[..., mx.array | Outputs]")


def differentiable(function: FunctionT, vjp: Callable[..., Gradients]) -> FunctionT:
    """Give a function a custom gradient.

    Args:
        function: Takes arrays and returns an array.
        vjp: `(arguments, gradient of the output, output) -> gradients of arguments`.
    """
    custom = mx.custom_function(function)
    custom.vjp(vjp)
    return cast("FunctionT", custom)


def batched(
    function: FunctionT, vjp: Callable[..., Gradients] | None = None
) -> FunctionT:
    """Make `mx.vmap` call a function once, on arrays with one more leading axis.

    `mx.vmap` rewrites a function primitive by primitive and inserts reshapes, squeezes
    and broadcasts. A function written for any number of leading axes
    (`swapaxes(-1, -2)`, `axis=-1`) needs none of that.

    Args:
        function: Takes arrays and returns an array or a tuple. It must broadcast
            arguments with a leading axis against those without.
        vjp: As for `differentiable`; None: autodiff of the function.
    """
    custom = mx.custom_function(function)
    if vjp is not None:
        custom.vjp(vjp)

    @custom.vmap
    def vectorised(
        inputs: mx.array | Sequence[mx.array], axes: int | Sequence[int | None]
    ) -> tuple[mx.array | Outputs, int | tuple[int, ...]]:
        if isinstance(inputs, mx.array):  # MLX unpacks a single argument
            inputs = [inputs]
        if isinstance(axes, int):
            axes = [axes]
        moved = [
            x if axis is None else mx.moveaxis(x, axis, 0)
            for x, axis in zip(inputs, axes, strict=True)
        ]
        outputs = function(*moved)
        if isinstance(outputs, tuple):
            return outputs, (0,) * len(outputs)
        return outputs, 0

    return cast("FunctionT", custom)
