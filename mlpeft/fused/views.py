"""Where the numbers of an array are: a buffer, and how to walk through it.

Primitives that only rearrange (transpose, slice, broadcast) make another view of the
same buffer and cost nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise
from math import prod
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from mlpeft.fused.graph import Node, Shape


@dataclass(eq=False, slots=True)
class Buffer:
    """Memory of one array.

    Attributes:
        size: Numbers in it.
        dtype: MLX's name.
        place: C expression of its address: an argument of the function. "": it gets a
            place in the scratch memory, if it is stored at all.
        literal: C expression of its one number, which then has no address.
    """

    size: int
    dtype: str
    place: str = ""
    literal: str = ""


@dataclass(frozen=True, slots=True)
class View:
    """An array in a buffer.

    Attributes:
        buffer: Has its numbers.
        shape: Of the array.
        strides: Numbers from one element to the next along each axis.
        offset: Where its first element is.
    """

    buffer: Buffer
    shape: Shape
    strides: tuple[int, ...]
    offset: int = 0

    @classmethod
    def whole(cls, buffer: Buffer, shape: Shape) -> View:
        """All of a buffer, in C order."""
        return cls(buffer, shape, c_strides(shape))

    @property
    def size(self) -> int:
        """How many elements it has."""
        return prod(self.shape)

    @property
    def is_whole(self) -> bool:
        """Whether it is all of its buffer, in C order."""
        return (
            self.offset == 0
            and self.size == self.buffer.size
            and all(
                length == 1 or stride == expected
                for length, stride, expected in zip(
                    self.shape, self.strides, c_strides(self.shape), strict=True
                )
            )
        )

    def reshaped(self, shape: Shape) -> View | None:
        """The elements in C order with another shape; None if that needs a copy."""
        if self.buffer.literal:
            return replace(self, shape=shape, strides=(0,) * len(shape))
        blocks = collapsed(self.shape, [self.strides])
        remaining = [(length, strides[0]) for length, strides in blocks]
        strides = []
        for length in reversed(shape):
            if length == 1:
                strides.append(0)
                continue
            whole, stride = remaining.pop() if remaining else (1, 0)
            if whole % length:
                return None
            strides.append(stride)
            if whole != length:
                remaining.append((whole // length, stride * length))
        return replace(self, shape=shape, strides=tuple(reversed(strides)))


def c_strides(shape: Shape) -> tuple[int, ...]:
    """Strides of a contiguous array whose last axis runs fastest."""
    strides, step = [], 1
    for length in reversed(shape):
        strides.append(step)
        step *= length
    return tuple(reversed(strides))


def collapsed(
    shape: Shape, all_strides: Sequence[tuple[int, ...]]
) -> list[tuple[int, tuple[int, ...]]]:
    """The fewest loops over a shape that walk through several arrays of it.

    Args:
        shape: Of all of them.
        all_strides: Of each.

    Returns:
        (length, strides of each array), outermost first; none for a single element.
    """
    axes = [
        (length, strides)
        for length, *strides in zip(shape, *all_strides, strict=True)
        if length != 1
    ]
    joined = axes[:1]
    for (_, _), (length, strides) in pairwise(axes):
        above, outer = joined[-1]
        if all(o == s * length for o, s in zip(outer, strides, strict=True)):
            joined[-1] = (above * length, strides)
        else:
            joined.append((length, strides))
    return [(length, tuple(strides)) for length, strides in joined]


def _transposed(view: View, node: Node) -> View:
    (axes,) = node.arguments
    shape, strides = (
        tuple(values[axis] for axis in axes) for values in (view.shape, view.strides)
    )
    return replace(view, shape=shape, strides=strides)


def _broadcast(view: View, node: Node) -> View:
    shape = node.output.shape
    missing = len(shape) - len(view.shape)
    strides = (0,) * missing + tuple(
        0 if length == 1 else stride
        for length, stride in zip(view.shape, view.strides, strict=True)
    )
    return replace(view, shape=shape, strides=strides)


def _sliced(view: View, node: Node) -> View:
    start, _, steps = node.arguments
    return part(view, start, steps, node.output.shape)


def part(view: View, start: Sequence[int], steps: Sequence[int], shape: Shape) -> View:
    """Elements from a start on, each some steps from the one before."""
    offset = sum(a * s for a, s in zip(start, view.strides, strict=True))
    strides = tuple(a * s for a, s in zip(steps, view.strides, strict=True))
    return View(view.buffer, shape, strides, view.offset + offset)


def _strided(view: View, node: Node) -> View | None:
    shape, strides, offset = node.arguments
    if not view.is_whole:
        return None
    return View(view.buffer, tuple(shape), tuple(strides), offset)


def _reshaped(view: View, node: Node) -> View | None:
    return view.reshaped(node.output.shape)


def _same(view: View, node: Node) -> View:  # noqa: ARG001 - one signature
    return view


VIEWS: dict[str, Callable[[View, Any], View | None]] = {
    "AsStrided": _strided,
    "Broadcast": _broadcast,
    "Contiguous": _same,
    "Copy": _same,
    "Depends": _same,
    "ExpandDims": _reshaped,
    "Flatten": _reshaped,
    "Full": _broadcast,
    "Reshape": _reshaped,
    "Slice": _sliced,
    "Squeeze": _reshaped,
    "StopGradient": _same,
    "Transpose": _transposed,
    "Unflatten": _reshaped,
}
"""Primitives that rearrange: the view of the output, or None if the input must be
copied into C order first."""
