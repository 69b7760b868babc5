"""The graph of a function of arrays, as MLX's export callback tells it.

    >>> graph = trace(lambda x: (mx.tanh(x) * 2.0,), mx.zeros((3,)))
    >>> [node.primitive for node in graph.nodes]
    ['Tanh', 'Broadcast', 'Multiply']

`mx.export_function` runs a function on tracers and reports its inputs, outputs,
constants and primitives in an order in which they can be computed. It is marked as
experimental in MLX, and this is the one place that knows the form of its reports.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import mlx.core as mx
import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

Shape: TypeAlias = tuple[int, ...]


class Unsupported(Exception):  # noqa: N818 - no error: who catches it goes another way
    """Why a function cannot be compiled as one; a sentence for people."""


class CompilerFailed(Exception):  # noqa: N818 - likewise
    """Why this machine did not compile it, though others may; a sentence for people."""


class Value(NamedTuple):
    """An array of the graph.

    Attributes:
        name: Unique in the graph.
        shape: Of the array.
        dtype: MLX's name, such as "float32".
    """

    name: str
    shape: Shape
    dtype: str

    @property
    def size(self) -> int:
        """How many numbers it has."""
        return int(np.prod(self.shape, dtype=np.int64))


@dataclass(frozen=True, slots=True)
class Node:
    """One primitive applied to arrays.

    Attributes:
        primitive: MLX's name, such as "Matmul".
        inputs: What it takes, in order.
        outputs: What it gives; nearly always one.
        arguments: What else decides its result (axes, strides), as MLX lists it.
    """

    primitive: str
    inputs: tuple[Value, ...]
    outputs: tuple[Value, ...]
    arguments: tuple[Any, ...] = ()

    @property
    def output(self) -> Value:
        """The output, of a primitive that has one."""
        (output,) = self.outputs
        return output


@dataclass(slots=True)
class Graph:
    """A function of arrays.

    Attributes:
        inputs: Its arguments, in order.
        outputs: Its results, in order; an input or a constant may be among them.
        constants: What it takes from its surroundings, by name.
        nodes: Its primitives, each after those whose results it takes.
    """

    inputs: tuple[Value, ...] = ()
    outputs: tuple[Value, ...] = ()
    constants: dict[str, np.ndarray] = field(default_factory=dict)
    nodes: list[Node] = field(default_factory=list)


def trace(function: Callable[..., Sequence[mx.array]], *examples: mx.array) -> Graph:
    """The graph of a function, for arguments like the examples.

    Args:
        function: Takes arrays and returns a tuple of arrays.
        examples: Arrays of the right shapes and dtypes.

    Raises:
        Unsupported: If MLX cannot export it.
    """
    graph = Graph()

    def report(event: dict[str, Any]) -> None:
        match event["type"]:
            case "inputs":
                graph.inputs = _values(event["inputs"])
            case "outputs":
                graph.outputs = _values(event["outputs"])
            case "constants":
                graph.constants = {
                    name: np.array(array) for name, array in event["constants"]
                }
            case "primitive":
                graph.nodes.append(
                    Node(
                        event["name"],
                        _values(event["inputs"]),
                        _values(event["outputs"]),
                        tuple(event["arguments"]),
                    )
                )

    try:
        mx.export_function(report, function, *examples)
    except (RuntimeError, ValueError) as error:
        raise Unsupported(f"MLX cannot export it ({error})") from error
    return graph


def _values(reported: Sequence[tuple[str, Shape, mx.Dtype]]) -> tuple[Value, ...]:
    return tuple(
        Value(name, tuple(shape), str(dtype).removeprefix("mlx.core."))
        for name, shape, dtype in reported
    )
