"""C of the kernels that are loops: element by element, copies, reductions, indices."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import prod
from typing import TYPE_CHECKING, Protocol

from mlpeft.fused.graph import Unsupported
from mlpeft.fused.primitives import REDUCTIONS, SUM
from mlpeft.fused.views import View, c_strides, collapsed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mlpeft.fused.graph import Shape
    from mlpeft.fused.views import Buffer

C_TYPES = {
    "bool": "uint8_t",
    "float32": "float",
    "int32": "int32_t",
    "int64": "int64_t",
    "uint32": "uint32_t",
    "uint8": "uint8_t",
}
LANES = 16
"""Partial sums of a long sum; the same on every processor, as it decides bits."""


class Kernel(Protocol):
    """A piece of C that reads some views and writes others.

    `body` is the inside of a function whose parameters r0, r1, ... point to the first
    elements of what it reads, and w0, w1, ... to those of what it writes.
    """

    @property
    def reads(self) -> Sequence[View]:
        """Views with an address."""
        ...

    @property
    def writes(self) -> Sequence[View]:
        """Views with an address; room to work in is among them."""
        ...

    def body(self) -> str:
        """C."""
        ...


def c_type(dtype: str) -> str:
    """The type in C.

    Raises:
        Unsupported: If there is none.
    """
    if dtype not in C_TYPES:
        raise Unsupported(f"it computes with numbers of type {dtype}")
    return C_TYPES[dtype]


def nest(lengths: Sequence[int], inside: str, first: int = 0) -> str:
    """Loops over i0, i1, ... around some C."""
    heads = [
        f"for (long i{d} = 0; i{d} < {length}; i{d}++)"
        for d, length in enumerate(lengths, first)
    ]
    return "\n".join([*heads, "{", inside, "}"])


def at(strides: Sequence[int], first: int = 0) -> str:
    """The place of an element, by i0, i1, ..."""
    terms = [
        f"i{d}" if stride == 1 else f"i{d} * {stride}"
        for d, stride in enumerate(strides, first)
        if stride
    ]
    return " + ".join(terms) or "0"


@dataclass(slots=True)
class Operation:
    """One element-by-element primitive.

    Attributes:
        result: Where its values go, if they are stored.
        expression: C with `{0}`, `{1}` for the operands.
        operands: Views of the group's shape.
    """

    result: Buffer
    expression: str
    operands: tuple[View, ...]


@dataclass(eq=False, slots=True)
class Elementwise:
    """Operations on elements of one shape, in one loop.

    Attributes:
        shape: Without axes of length 1.
        operations: In order.
        stored: Buffers that others read; the rest stays in registers.
    """

    shape: Shape
    operations: list[Operation] = field(default_factory=list)
    stored: set[Buffer] = field(default_factory=set)
    _results: set[Buffer] = field(default_factory=set)

    def add(self, operation: Operation) -> None:
        """Compute another value in the same loop."""
        self.operations.append(operation)
        self._results.add(operation.result)

    def makes(self, view: View) -> bool:
        """Whether a view is what an operation here computes, element by element."""
        return view.buffer in self._results and view.is_whole

    @property
    def reads(self) -> list[View]:
        """What it loads."""
        found: dict[object, View] = {}
        for operation in self.operations:
            for view in operation.operands:
                if not view.buffer.literal and not self.makes(view):
                    found.setdefault((view.buffer, view.strides, view.offset), view)
        return list(found.values())

    @property
    def writes(self) -> list[View]:
        """What it stores."""
        return [
            View.whole(o.result, self.shape)
            for o in self.operations
            if o.result in self.stored
        ]

    def _axes(self) -> list[tuple[int, tuple[int, ...]]]:
        every = [*(view.strides for view in self.reads), c_strides(self.shape)]
        return collapsed(self.shape, every)

    def body(self) -> str:
        """Loads, operations and stores in one nest of loops."""
        reads, writes, axes = self.reads, self.writes, self._axes()
        lengths = [length for length, _ in axes]
        places = [at([s[n] for _, s in axes]) for n in range(len(reads) + 1)]
        names = {
            (view.buffer, view.strides, view.offset): f"r{n}[{places[n]}]"
            for n, view in enumerate(reads)
        }
        made: dict[Buffer, str] = {}

        def name(view: View) -> str:
            if view.buffer.literal:
                return view.buffer.literal
            if self.makes(view):
                return made[view.buffer]
            return names[view.buffer, view.strides, view.offset]

        lines = []
        for number, operation in enumerate(self.operations):
            operands = [name(view) for view in operation.operands]
            local = made[operation.result] = f"v{number}"
            dtype = operation.result.dtype
            kind = "int" if dtype == "bool" else c_type(dtype)
            value = operation.expression.format(*operands)
            lines.append(f"const {kind} {local} = {value};")
        lines += [
            f"w{n}[{places[-1]}] = {made[view.buffer]};"
            for n, view in enumerate(writes)
        ]
        return nest(lengths, "\n".join(lines))


@dataclass(slots=True)
class Assign:
    """`target = source`, or `target += source`, element by element."""

    target: View
    source: View
    adds: bool = False

    @property
    def reads(self) -> list[View]:
        """The source."""
        return [] if self.source.buffer.literal else [self.source]

    @property
    def writes(self) -> list[View]:
        """The target."""
        return [self.target]

    def body(self) -> str:
        """One nest of loops; long lines of a transposed copy go in blocks."""
        axes = collapsed(self.target.shape, [self.target.strides, self.source.strides])
        to, origin = (at([s[n] for _, s in axes]) for n in (0, 1))
        value = self.source.buffer.literal or f"r0[{origin}]"
        lengths = [length for length, _ in axes]
        if _is_transposition(axes) and not self.adds and self.reads:
            rows, columns = lengths[-2:]
            outer = [(length, s) for length, s in axes[:-2]]
            to, origin = (at([s[n] for _, s in outer]) for n in (0, 1))
            ldt, lds = axes[-2][1][0], axes[-1][1][1]
            arrays = f"r0 + {origin}, {lds}, w0 + {to}, {ldt}"
            call = f"transpose_({rows}, {columns}, {arrays});"
            if self.target.buffer.dtype == "float32":
                return nest(lengths[:-2], call)
            to, origin = (at([s[n] for _, s in axes]) for n in (0, 1))
        return nest(lengths, f"w0[{to}] {'+' * self.adds}= {value};")


def _is_transposition(axes: list[tuple[int, tuple[int, ...]]]) -> bool:
    """Whether the last two axes run fastest in the one array and in the other."""
    if len(axes) < 2:
        return False
    (_, (_, above)), (_, (below, _)) = axes[-2:]
    return above == 1 and below == 1


@dataclass(slots=True)
class Reduce:
    """All elements along some axes made one.

    Attributes:
        target: In C order, without the axes.
        source: With them.
        axes: Those that go.
        kind: MLX's number of what is done.
    """

    target: Buffer
    source: View
    axes: tuple[int, ...]
    kind: int

    @property
    def reads(self) -> list[View]:
        """The source."""
        return [self.source]

    @property
    def writes(self) -> list[View]:
        """The target."""
        return [View.whole(self.target, (self.target.size,))]

    def body(self) -> str:
        """Sums along contiguous axes in lanes, others line by line."""
        view = self.source
        kept = [d for d in range(len(view.shape)) if d not in self.axes]
        start, step = REDUCTIONS[self.kind]
        kind = c_type(self.target.dtype)
        out_shape = tuple(view.shape[d] for d in kept)
        outer = collapsed(
            out_shape, [tuple(view.strides[d] for d in kept), c_strides(out_shape)]
        )
        gone = collapsed(
            tuple(view.shape[d] for d in self.axes),
            [tuple(view.strides[d] for d in self.axes)],
        )
        count = prod(length for length, _ in gone)
        many = len(outer)
        read = at([s[0] for _, s in outer] + [s[0] for _, s in gone])
        write = at([s[1] for _, s in outer])
        start = f"({kind})({start})"
        if gone and gone[-1][1] == (1,) and self.kind == SUM and kind == "float":
            # Lines of contiguous numbers: lanes, then a tree.
            base = at([s[0] for _, s in outer] + [s[0] for _, s in gone[:-1]])
            inner = f"total += sum_({gone[-1][0]}, r0 + {base});"
            loops = nest([length for length, _ in gone[:-1]], inner, many)
            inside = f"float total = 0;\n{loops}\nw0[{write}] = total;"
            return nest([length for length, _ in outer], inside)
        if outer and outer[-1][1][0] == 1 and outer[-1][0] > 1 and count > 1:
            # Neighbours are kept: whole lines are added up.
            line, (length, _) = outer[:-1], outer[-1]
            last = many - 1
            value = step.format(f"acc[i{last}]", f"r0[{read}]")
            return nest(
                [length for length, _ in line],
                f"{kind} acc[{length}];\n"
                + nest([length], f"acc[i{last}] = {start};", last)
                + "\n"
                + nest(
                    [n for n, _ in gone],
                    nest([length], f"acc[i{last}] = {value};", last),
                    many,
                )
                + "\n"
                + nest([length], f"w0[{write}] = acc[i{last}];", last),
            )
        value = step.format("total", f"r0[{read}]")
        loops = nest([n for n, _ in gone], f"total = {value};", many)
        inside = f"{kind} total = {start};\n{loops}\nw0[{write}] = total;"
        return nest([length for length, _ in outer], inside)


@dataclass(slots=True)
class ArgReduce:
    """The first place of the smallest or largest element along the last axis."""

    target: Buffer
    source: View
    largest: bool

    @property
    def reads(self) -> list[View]:
        """The source."""
        return [self.source]

    @property
    def writes(self) -> list[View]:
        """The target."""
        return [View.whole(self.target, (self.target.size,))]

    def body(self) -> str:
        """One nest of loops."""
        *outer, length = self.source.shape
        *strides, step = self.source.strides
        base = at(strides)
        relation = ">" if self.largest else "<"
        return nest(
            outer,
            f"long best = 0;\nfor (long j = 1; j < {length}; j++)\n"
            f"if (r0[{base} + j * {step}] {relation} r0[{base} + best * {step}]) "
            f"best = j;\nw0[{at(c_strides(tuple(outer)))}] = best;",
        )


@dataclass(slots=True)
class Count:
    """`start + step i` for i = 0, 1, ..."""

    target: Buffer
    start: float
    step: float

    @property
    def reads(self) -> list[View]:
        """Nothing."""
        return []

    @property
    def writes(self) -> list[View]:
        """The target."""
        return [View.whole(self.target, (self.target.size,))]

    def body(self) -> str:
        """One loop."""
        value = f"w0[i0] = {float(self.start)!r} + i0 * {float(self.step)!r};"
        return nest([self.target.size], value)


@dataclass(slots=True)
class Indexed:
    """Elements at places that are data: read from an array, or put into it.

    Loops run over the shape of `places`, `elements` and the other axes together; an
    index along `axes[n]` of the array is `indices[n]`.

    Attributes:
        array: Where elements are read from or put.
        elements: The other side.
        indices: Views of the shape of `elements`, of integers.
        strides: Along each axis of `elements`, numbers in `array`.
        axes: (length, stride) in `array` of each index.
        puts: Whether elements are put into the array, in place of read.
        adds: Whether they are added.
    """

    array: View
    elements: View
    indices: tuple[View, ...]
    strides: tuple[int, ...]
    axes: tuple[tuple[int, int], ...]
    puts: bool = False
    adds: bool = False

    @property
    def reads(self) -> list[View]:
        """The indices, and one side."""
        return [*self.indices, self.elements if self.puts else self.array]

    @property
    def writes(self) -> list[View]:
        """The other side."""
        return [self.array if self.puts else self.elements]

    def body(self) -> str:
        """One nest of loops; negative indices count from the end."""
        last = len(self.indices)
        lines = []
        place = [at(self.strides)]
        for n, (view, (length, stride)) in enumerate(
            zip(self.indices, self.axes, strict=True)
        ):
            lines.append(f"long j{n} = (long)r{n}[{at(view.strides)}];")
            if view.buffer.dtype.startswith("int"):
                lines.append(f"if (j{n} < 0) j{n} += {length};")
            place.append(f"j{n} * {stride}")
        inside, element = " + ".join(place), at(self.elements.strides)
        if self.puts:
            sign = "+" * self.adds
            lines.append(f"w0[{inside}] {sign}= r{last}[{element}];")
        else:
            lines.append(f"w0[{element}] = r{last}[{inside}];")
        return nest(self.elements.shape, "\n".join(lines))
