"""The linear layer."""

from __future__ import annotations

from typing import TYPE_CHECKING

import mlx.core as mx
import mlx.nn as nn

from mlpeft.models.ops.transforms import batched

if TYPE_CHECKING:
    from collections.abc import Sequence


def linear(x: mx.array, weight: mx.array, bias: mx.array) -> mx.array:
    """`x weight^T + bias`.

    The weight gradient is `dy^T x`, contiguous in the layout of `weight`. Autodiff
    gives the view `(x^T dy)^T`, which makes the following update several times slower.

    Args:
        x: (..., inputs).
        weight: (outputs, inputs), as in `mlx.nn.Linear`.
        bias: (outputs,).

    Returns:
        (..., outputs).
    """
    if x.ndim != 2:
        rows = linear(x.reshape(-1, x.shape[-1]), weight, bias)
        return rows.reshape(*x.shape[:-1], weight.shape[0])
    return _LINEAR(x, weight, bias)


def _linear(x: mx.array, weight: mx.array, bias: mx.array) -> mx.array:
    # Not addmm: mx.compile fuses the bias with the activation into one kernel.
    return x @ weight.swapaxes(-1, -2) + bias[..., None, :]


@batched
def _gradients(
    x: mx.array, weight: mx.array, dy: mx.array
) -> tuple[mx.array, mx.array, mx.array]:
    return dy @ weight, dy.swapaxes(-1, -2) @ x, mx.sum(dy, axis=-2)


def _linear_vjp(
    primals: Sequence[mx.array], dy: mx.array, _: mx.array
) -> tuple[mx.array, mx.array, mx.array]:
    x, weight, _bias = primals
    dx, dweight, dbias = _gradients(x, weight, dy)
    return dx, dweight, dbias


_LINEAR = batched(_linear, _linear_vjp)


class Linear(nn.Linear):
    """`mlx.nn.Linear` with a bias, whose gradients are faster.

    It is an `nn.Linear`, so the PEFT methods can wrap it.

    Args:
        input_dims: Numbers in one input.
        output_dims: Numbers in one output.
    """

    def __init__(self, input_dims: int, output_dims: int) -> None:
        super().__init__(input_dims, output_dims, bias=True)

    def __call__(self, x: mx.array) -> mx.array:
        """(..., input_dims) -> (..., output_dims)."""
        return linear(x, self.weight, self.bias)
