"""Primitives with kernels of their own: what each adds to a schedule."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from mlpeft.fused.convolutions import Convolution
from mlpeft.fused.graph import Node, Unsupported, Value
from mlpeft.fused.loops import ArgReduce, Assign, Count, Indexed, Reduce, c_type
from mlpeft.fused.products import Product
from mlpeft.fused.views import View, c_strides, part

if TYPE_CHECKING:
    from collections.abc import Callable

    from mlpeft.fused.schedule import Schedule


def _reduce(schedule: Schedule, node: Node) -> None:
    kind, axes = node.arguments
    source = schedule.view(node.inputs[0])
    if all(source.shape[axis] == 1 for axis in axes):
        _as_type(schedule, node)
        return
    target = schedule.new(node.output)
    source = schedule.stored(node.inputs[0])
    schedule.run(Reduce(target.buffer, source, tuple(axes), kind))
    schedule.bind(node.output, target)


def _as_type(schedule: Schedule, node: Node) -> None:
    kind = "0 !=" if node.output.dtype == "bool" else f"({c_type(node.output.dtype)})"
    operand = schedule.view(node.inputs[0])
    result = schedule.compute(node.output, kind + " {0}", operand)
    schedule.bind(node.output, result)


def _arg_reduce(schedule: Schedule, node: Node) -> None:
    kind, axis = node.arguments
    source = schedule.stored(node.inputs[0])
    order = [d for d in range(len(source.shape)) if d != axis] + [axis]
    source = replace(
        source,
        shape=tuple(source.shape[d] for d in order),
        strides=tuple(source.strides[d] for d in order),
    )
    target = schedule.new(node.output)
    schedule.run(ArgReduce(target.buffer, source, largest=kind == 1))
    schedule.bind(node.output, target)


def _arange(schedule: Schedule, node: Node) -> None:
    start, _, step = node.arguments
    target = schedule.new(node.output)
    schedule.run(Count(target.buffer, start, step))
    schedule.bind(node.output, target)


def _concatenate(schedule: Schedule, node: Node) -> None:
    (axis,) = node.arguments
    target = schedule.new(node.output)
    start = [0] * len(target.shape)
    for value in node.inputs:
        place = part(target, start, [1] * len(start), value.shape)
        schedule.run(Assign(place, schedule.view(value)))
        start[axis] += value.shape[axis]
    schedule.bind(node.output, target)


def _split(schedule: Schedule, node: Node) -> None:
    _, axis = node.arguments
    whole = schedule.view(node.inputs[0])
    start = [0] * len(whole.shape)
    for value in node.outputs:
        view = part(whole, start, [1] * len(start), value.shape)
        schedule.bind(value, view)
        start[axis] += value.shape[axis]


def _pad(schedule: Schedule, node: Node) -> None:
    axes, low, _ = node.arguments
    source, filling = node.inputs
    target = schedule.new(node.output)
    fill = schedule.view(filling)
    strides = (0,) * len(target.shape)
    schedule.run(Assign(target, View(fill.buffer, target.shape, strides, fill.offset)))
    start = [0] * len(target.shape)
    for axis, many in zip(axes, low, strict=True):
        start[axis] = many
    place = part(target, start, [1] * len(start), source.shape)
    schedule.run(Assign(place, schedule.view(source)))
    schedule.bind(node.output, target)


UPDATES = {2: True, 4: False}
"""What `Scatter` and `SliceUpdate` do, in MLX's numbers: whether they add."""


def _adds(node: Node, kind: int, kinds: dict[int, bool]) -> bool:
    if kind not in kinds:
        raise Unsupported(f"{node.primitive} of kind {kind}")
    return kinds[kind]


def _slice_update(schedule: Schedule, node: Node) -> None:
    kind, start, _, steps = node.arguments
    whole, update = node.inputs
    target = schedule.copied(node.output, schedule.view(whole))
    place = part(target, start, steps, update.shape)
    adds = _adds(node, kind, UPDATES)
    schedule.run(Assign(place, schedule.view(update), adds=adds))
    schedule.bind(node.output, target)


def _along(view: View, axis: int) -> tuple[tuple[int, ...], tuple[int, int]]:
    """Strides without those of an axis; and its length and stride."""
    strides = list(view.strides)
    strides[axis] = 0
    return tuple(strides), (view.shape[axis], view.strides[axis])


def _gather_axis(schedule: Schedule, node: Node) -> None:
    (axis,) = node.arguments
    source, indices = (schedule.stored(value) for value in node.inputs)
    target = schedule.new(node.output)
    strides, place = _along(source, axis)
    schedule.run(Indexed(source, target, (indices,), strides, (place,)))
    schedule.bind(node.output, target)


def _scatter_axis(schedule: Schedule, node: Node) -> None:
    kind, axis = node.arguments
    whole, indices, update = node.inputs
    target = schedule.copied(node.output, schedule.view(whole))
    strides, place = _along(target, axis)
    elements, at = schedule.stored(update), schedule.stored(indices)
    adds = _adds(node, kind, {0: True, 1: False})
    schedule.run(
        Indexed(target, elements, (at,), strides, (place,), puts=True, adds=adds)
    )
    schedule.bind(node.output, target)


def _index_views(
    schedule: Schedule, indices: tuple[Value, ...], many: int
) -> tuple[View, ...]:
    """Indices with axes of the slices behind their own."""
    views = [schedule.stored(value) for value in indices]
    return tuple(
        replace(
            view, shape=view.shape + (1,) * many, strides=view.strides + (0,) * many
        )
        for view in views
    )


def _gather(schedule: Schedule, node: Node) -> None:
    axes, _ = node.arguments
    source = schedule.stored(node.inputs[0])
    target = schedule.new(node.output)
    many = len(source.shape)
    own = len(target.shape) - many
    indices = _index_views(schedule, node.inputs[1:], many)
    places = tuple((source.shape[axis], source.strides[axis]) for axis in axes)
    strides = (0,) * own + source.strides
    schedule.run(Indexed(source, target, indices, strides, places))
    schedule.bind(node.output, target)


def _scatter(schedule: Schedule, node: Node) -> None:
    kind, axes = node.arguments
    whole, *indices, update = node.inputs
    target = schedule.copied(node.output, schedule.view(whole))
    many = len(target.shape)
    elements = schedule.stored(update)
    own = len(elements.shape) - many
    views = _index_views(schedule, tuple(indices), many)
    places = tuple((target.shape[axis], target.strides[axis]) for axis in axes)
    adds = _adds(node, kind, UPDATES)
    strides = (0,) * own + target.strides
    schedule.run(
        Indexed(target, elements, views, strides, places, puts=True, adds=adds)
    )
    schedule.bind(node.output, target)


def _matmul(schedule: Schedule, node: Node) -> None:
    a, b = (schedule.stored(value) for value in node.inputs)
    value = node.output
    swapped = schedule.wants_transposed(value)
    *batch, rows, columns = value.shape
    buffer = schedule.new(value).buffer
    strides = c_strides((*batch, columns, rows) if swapped else value.shape)
    if swapped:
        strides = (*strides[:-2], strides[-1], strides[-2])
    target = View(buffer, value.shape, strides)
    schedule.run(Product(target, a, b, blas=schedule.blas))
    schedule.bind(value, target)


def _convolution(schedule: Schedule, node: Node) -> None:
    image, kernel = (schedule.stored(value) for value in node.inputs)
    if image.strides[-1] != 1:
        image = schedule.copied(node.inputs[0], image)
    target = schedule.new(node.output)
    schedule.run(Convolution(target, image, kernel, schedule.blas, *node.arguments))
    schedule.bind(node.output, target)


KERNELS: dict[str, Callable[[Schedule, Node], None]] = {
    "Arange": _arange,
    "ArgReduce": _arg_reduce,
    "AsType": _as_type,
    "Concatenate": _concatenate,
    "Convolution": _convolution,
    "Gather": _gather,
    "GatherAxis": _gather_axis,
    "Matmul": _matmul,
    "Pad": _pad,
    "Reduce": _reduce,
    "Scatter": _scatter,
    "ScatterAxis": _scatter_axis,
    "SliceUpdate": _slice_update,
    "Split": _split,
}
"""Primitives with kernels of their own."""
