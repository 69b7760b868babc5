"""The same function with fewer and simpler primitives.

One pass in the order of computing: primitives that change nothing go, those that are
made of simpler ones are replaced by them, equal ones are computed once; then what no
output needs goes.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import numpy as np

from mlpeft.fused.graph import Graph, Node, Value
from mlpeft.fused.primitives import COMPOSED, IDENTITIES, RESHAPES

if TYPE_CHECKING:
    from collections.abc import Hashable


class Builder:
    """Adds primitives to a graph; the parts of a composed one are made with it."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self._same: dict[str, Value] = {}
        self._known: dict[Hashable, tuple[Value, ...]] = {}
        self._made: dict[str, Node] = {}
        self._numbers = itertools.count()

    def __call__(
        self,
        primitive: str,
        *inputs: Value,
        shape: tuple[int, ...] | None = None,
        dtype: str | None = None,
        arguments: tuple[Any, ...] = (),
    ) -> Value:
        """The result of a primitive; shape and dtype, if not given, as its input's."""
        first = inputs[0]
        output = Value(
            f"~{next(self._numbers)}",
            first.shape if shape is None else shape,
            dtype or first.dtype,
        )
        return self.add(Node(primitive, inputs, (output,), arguments))[0]

    def add(self, node: Node) -> tuple[Value, ...]:
        """Add a primitive in its simplest form; returns its results."""
        node = Node(
            "Reshape" if node.primitive in RESHAPES else node.primitive,
            tuple(self.latest(value) for value in node.inputs),
            node.outputs,
            () if node.primitive in RESHAPES else node.arguments,
        )
        if self._changes_nothing(node):
            found = node.inputs[: len(node.outputs)]
        elif (compose := COMPOSED.get(node.primitive)) and (
            made := compose(self, node)
        ) is not None:
            found = (made,)
        else:
            key = (
                node.primitive,
                node.inputs,
                repr(node.arguments),
                tuple((v.shape, v.dtype) for v in node.outputs),
            )
            if key not in self._known:
                self.graph.nodes.append(node)
                self._known[key] = node.outputs
                self._made |= {value.name: node for value in node.outputs}
            found = self._known[key]
        self._same |= {
            old.name: new
            for old, new in zip(node.outputs, found, strict=True)
            if old != new
        }
        return found

    def zero(self) -> Value:
        """The number 0."""
        for name, array in self.graph.constants.items():
            if array.shape == () and array.dtype == np.float32 and array == 0:
                return Value(name, (), "float32")
        self.graph.constants["~zero"] = np.zeros((), np.float32)
        return Value("~zero", (), "float32")

    def latest(self, value: Value) -> Value:
        """What stands for a value now."""
        return self._same.get(value.name, value)

    def maker(self, value: Value) -> Node | None:
        """The primitive that gives a value; None for inputs and constants."""
        return self._made.get(value.name)

    def _changes_nothing(self, node: Node) -> bool:
        if node.primitive not in IDENTITIES or not node.inputs:
            return False
        pairs = zip(node.inputs, node.outputs, strict=False)
        return all(before[1:] == after[1:] for before, after in pairs)


def simplified(graph: Graph) -> Graph:
    """The same function, see the module.

    Args:
        graph: Is left as it is.
    """
    built = Graph(graph.inputs, (), dict(graph.constants))
    builder = Builder(built)
    for node in graph.nodes:
        builder.add(node)
    built.outputs = tuple(builder.latest(value) for value in graph.outputs)
    needed = {value.name for value in built.outputs}
    kept = []
    for node in reversed(built.nodes):
        if any(value.name in needed for value in node.outputs):
            kept.append(node)
            needed |= {value.name for value in node.inputs}
    built.nodes = kept[::-1]
    built.constants = {k: v for k, v in built.constants.items() if k in needed}
    return built
