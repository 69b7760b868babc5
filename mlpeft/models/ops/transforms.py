"""Functions with a gradient of their own, and such as `mx.vmap` need not rewrite."""

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
    """Give a function a gradient of its own.

    Args:
        function: Takes arrays and gives one.
        vjp: `(arguments, gradient of the output, output) -> gradients of arguments`.
    """
    custom = mx.custom_function(function)
    custom.vjp(vjp)
    return cast("FunctionT", custom)


def batched(
    function: FunctionT, vjp: Callable[..., Gradients] | None = None
) -> FunctionT:
    """Make a function that vmaps by being called once, on arrays with an axis more.

    `mx.vmap` rewrites a function primitive by primitive and puts reshapes, squeezes and
    broadcasts between them. A function that is written for any number of leading axes
    (`swapaxes(-1, -2)`, `axis=-1`) needs none of that.

    Args:
        function: Takes arrays and gives one array or a tuple. Where some arguments have
            a leading axis and others have not, it must broadcast them.
        vjp: As for `differentiable`; None: the gradient is taken through the code.
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
