"""From a graph to kernels: what runs in which order, and what is computed together.

Views cost nothing. Element-by-element primitives of one shape share a loop, the
earliest in which their operands are there, and what only that loop needs is never
stored. Everything else is a kernel of its own.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from mlpeft.fused.graph import Graph, Node, Unsupported, Value
from mlpeft.fused.loops import Assign, Elementwise, Operation, c_type
from mlpeft.fused.primitives import ELEMENTWISE, OF_ANY_TYPE
from mlpeft.fused.rules import KERNELS
from mlpeft.fused.views import VIEWS, Buffer, View

if TYPE_CHECKING:
    from mlpeft.fused.graph import Shape
    from mlpeft.fused.loops import Kernel

MOST_NODES = 40_000
"""Primitives of a graph that is still compiled."""


class Schedule:
    """The kernels of a graph.

    Args:
        graph: A simplified one.
        blas: Whether large products may be those of a BLAS library.

    Attributes:
        kernels: In order.
        outputs: Their buffers; all in C order, each output its own.
        constants: Arrays that are arguments beside the graph's inputs.

    Raises:
        Unsupported: If a primitive, an argument of one or a type is not known here.
    """

    def __init__(self, graph: Graph, *, blas: bool = True) -> None:
        if len(graph.nodes) > MOST_NODES:
            raise Unsupported(
                f"it is too large: {len(graph.nodes)} primitives, at most {MOST_NODES}"
            )
        self.blas = blas
        self.kernels: list[Kernel] = []
        self.constants: list[np.ndarray] = []
        self._made: dict[Buffer, int] = {}
        self._groups: dict[Shape, list[int]] = {}
        self._views: dict[str, View] = {}
        self._transposed = _wanted_transposed(graph)
        for number, value in enumerate(graph.inputs):
            self._argument(value, Buffer(value.size, value.dtype, f"in[{number}]"))
        for name, array in graph.constants.items():
            self._constant(name, array, len(graph.inputs))
        for node in graph.nodes:
            self._add(node)
        self.outputs = [self._output(n, value) for n, value in enumerate(graph.outputs)]
        self._settle()

    def bind(self, value: Value, view: View) -> None:
        """Say where the numbers of a value are."""
        self._views[value.name] = view

    def stored(self, value: Value) -> View:
        """Where they are, with an address."""
        view = self.view(value)
        return self.copied(value, view) if view.buffer.literal else view

    def wants_transposed(self, value: Value) -> bool:
        """Whether a product is read with its last two axes swapped alone."""
        return value.name in self._transposed

    def view(self, value: Value) -> View:
        """Where the numbers of a value are."""
        return self._views[value.name]

    def new(self, value: Value) -> View:
        """A place for a value, in C order."""
        c_type(value.dtype)
        return View.whole(Buffer(value.size, value.dtype), value.shape)

    def run(self, kernel: Kernel) -> None:
        """Add a kernel at the end."""
        for view in kernel.writes:
            self._made[view.buffer] = len(self.kernels)
        self.kernels.append(kernel)

    def compute(self, value: Value, expression: str, *operands: View) -> View:
        """An element-by-element primitive, in the earliest loop that can have it."""
        c_type(value.dtype)
        if value.size and all(view.buffer.literal for view in operands):
            literals = [f"({view.buffer.literal})" for view in operands]
            text = f"({expression.format(*literals)})"
            return _literal(text, value.dtype).reshaped(value.shape) or self.new(value)
        shape = tuple(length for length in value.shape if length != 1)
        operands = tuple(_squeezed(view) for view in operands)
        first = max((self._ready(view, shape) for view in operands), default=0)
        result = Buffer(value.size, value.dtype)
        groups = self._groups.setdefault(shape, [])
        place = next((index for index in groups if index >= first), None)
        if place is None:
            place = len(self.kernels)
            self.kernels.append(Elementwise(shape))
            groups.append(place)
        group = self.kernels[place]
        assert isinstance(group, Elementwise)  # noqa: S101 - our own bookkeeping
        group.add(Operation(result, expression, operands))
        self._made[result] = place
        return View.whole(result, value.shape)

    def copied(self, value: Value, view: View) -> View:
        """The elements of a view in C order, in a buffer of their own."""
        target = self.new(value)
        self.run(Assign(target, view))
        return target

    def _ready(self, view: View, shape: Shape) -> int:
        """The first kernel of this shape that can read a view."""
        made = self._made.get(view.buffer, -1)
        if made < 0:
            return 0
        kernel = self.kernels[made]
        same = isinstance(kernel, Elementwise) and kernel.shape == shape
        return made if same and view.is_whole and view.shape == shape else made + 1

    def _argument(self, value: Value, buffer: Buffer) -> None:
        c_type(value.dtype)
        self._views[value.name] = View.whole(buffer, value.shape)

    def _constant(self, name: str, array: np.ndarray, inputs: int) -> None:
        dtype = str(array.dtype)
        if array.size == 1:
            view = _literal(_number(array), dtype)
            self._views[name] = view.reshaped(array.shape) or view
            return
        place = f"in[{inputs + len(self.constants)}]"
        self.constants.append(np.ascontiguousarray(array))
        self._argument(
            Value(name, array.shape, dtype), Buffer(array.size, dtype, place)
        )

    def _add(self, node: Node) -> None:
        name = node.primitive
        if name in VIEWS:
            self._rearrange(node)
        elif name in ELEMENTWISE:
            if name not in OF_ANY_TYPE and node.output.dtype != "float32":
                raise Unsupported(f"{name} of {node.output.dtype}")
            operands = [self.view(value) for value in node.inputs]
            result = self.compute(node.output, ELEMENTWISE[name], *operands)
            self.bind(node.output, result)
        elif name in KERNELS:
            KERNELS[name](self, node)
        else:
            raise Unsupported(f"the primitive {name} is not in its table")

    def _rearrange(self, node: Node) -> None:
        view = self.view(node.inputs[0])
        found = VIEWS[node.primitive](view, node)
        if found is None:
            found = VIEWS[node.primitive](self.copied(node.inputs[0], view), node)
        if found is None:
            raise Unsupported(f"{node.primitive} of such a view")
        self.bind(node.output, found)

    def _output(self, number: int, value: Value) -> Buffer:
        view = self.view(value)
        place = f"out[{number}]"
        if view.is_whole and not view.buffer.place and not view.buffer.literal:
            view.buffer.place = place
            return view.buffer
        copy = self.copied(value, view)
        copy.buffer.place = place
        return copy.buffer

    def _settle(self) -> None:
        """Decide what each loop stores, and drop loops that nobody needs."""
        wanted = set(self.outputs)
        for kernel in reversed(self.kernels):
            if isinstance(kernel, Elementwise):
                kernel.stored = {
                    o.result for o in kernel.operations if o.result in wanted
                }
            wanted |= {view.buffer for view in kernel.reads}


def _wanted_transposed(graph: Graph) -> set[str]:
    """Products that are read with their last two axes swapped, and in no other way."""
    swapped: dict[str, bool] = {}
    for node in graph.nodes:
        swaps = node.primitive == "Transpose" and _swaps_last(node.arguments[0])
        for value in node.inputs:
            swapped[value.name] = swapped.get(value.name, True) and swaps
    for value in graph.outputs:
        swapped[value.name] = False
    return {name for name, only in swapped.items() if only}


def _swaps_last(axes: list[int]) -> bool:
    end = len(axes)
    return end > 1 and list(axes) == [*range(end - 2), end - 1, end - 2]


def _literal(text: str, dtype: str) -> View:
    return View(Buffer(1, dtype, literal=text), (), ())


def _number(array: np.ndarray) -> str:
    """One number as C, exactly."""
    value = array.reshape(()).item()
    if array.dtype != np.float32:
        return str(int(value))
    if np.isnan(value):
        return "NAN"
    if np.isinf(value):
        return "INFINITY" if value > 0 else "(-INFINITY)"
    return f"({value.hex()}f)"


def _squeezed(view: View) -> View:
    """Without axes of length 1."""
    axes = [d for d, length in enumerate(view.shape) if length != 1]
    if len(axes) == len(view.shape):
        return view
    return replace(
        view,
        shape=tuple(view.shape[d] for d in axes),
        strides=tuple(view.strides[d] for d in axes),
    )
