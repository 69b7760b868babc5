"""Functions with a custom gradient, or with vectorisation by one call.

MLX cannot export such a function as a graph, so each has a plain form of the same
values, made of MLX's own operations and differentiated by it.
"""

from __future__ import annotations

from contextlib import contextmanager
from contextvars import ContextVar
from functools import wraps
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar, cast

import mlx.core as mx

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    Outputs: TypeAlias = tuple[mx.array, ...]
    Gradients: TypeAlias = mx.array | tuple[mx.array, ...]
    """One for each argument."""

FunctionT = TypeVar("FunctionT", bound="Callable[..., mx.array | Outputs]")


_PLAIN: ContextVar[bool] = ContextVar("plain_forms", default=False)


@contextmanager
def plain_forms() -> Iterator[None]:
    """Within the body, these functions are their plain forms."""
    token = _PLAIN.set(True)
    try:
        yield
    finally:
        _PLAIN.reset(token)


def differentiable(
    function: FunctionT,
    vjp: Callable[..., Gradients],
    plain: FunctionT | None = None,
) -> FunctionT:
    """Give a function a custom gradient.

    Args:
        function: Takes arrays and returns an array.
        vjp: `(arguments, gradient of the output, output) -> gradients of arguments`.
        plain: The plain form; None: the function itself.
    """
    custom = mx.custom_function(function)
    custom.vjp(vjp)
    return _with_plain(custom, plain or function)


def _with_plain(custom: Any, plain: FunctionT) -> FunctionT:
    """A custom function that is its plain form within `plain_forms`."""

    @wraps(plain)
    def either(*arrays: mx.array) -> Any:
        return plain(*arrays) if _PLAIN.get() else custom(*arrays)

    return cast("FunctionT", either)


def batched(
    function: FunctionT,
    vjp: Callable[..., Gradients] | None = None,
    plain: FunctionT | None = None,
) -> FunctionT:
    """Make `mx.vmap` call a function once, on arrays with one more leading axis.

    `mx.vmap` rewrites a function primitive by primitive and inserts reshapes, squeezes
    and broadcasts. A function written for any number of leading axes
    (`swapaxes(-1, -2)`, `axis=-1`) needs none of that.

    Args:
        function: Takes arrays and returns an array or a tuple. It must broadcast
            arguments with a leading axis against those without.
        vjp: As for `differentiable`; None: autodiff of the function.
        plain: As for `differentiable`.
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

    return _with_plain(custom, plain or function)
