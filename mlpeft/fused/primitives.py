"""The table of primitives: what each computes, in C or in simpler primitives.

To add one that works element by element, add its line to `ELEMENTWISE`: `{0}` and `{1}`
are its inputs. Functions of C that are not in the standard library are in `kernels.h`.
Products are rounded before sums; `fmaf` is written where one rounding is meant. To add
one that is made of others, write a function with a `Builder` and enter it in
`COMPOSED`. Tests compare each line with MLX.
"""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING

from mlpeft.fused.views import c_strides

if TYPE_CHECKING:
    from collections.abc import Callable

    from mlpeft.fused.graph import Node, Value
    from mlpeft.fused.simplify import Builder

ELEMENTWISE: dict[str, str] = {
    "Abs": "fabsf({0})",
    "Add": "{0} + {1}",
    "Ceil": "ceilf({0})",
    "Cos": "(float)cos((double){0})",
    "Cosh": "(float)cosh((double){0})",
    "Divide": "{0} / {1}",
    "Equal": "{0} == {1}",
    "Erf": "erf_({0})",
    "Exp": "exp_({0})",
    "Expm1": "(float)expm1((double){0})",
    "Floor": "floorf({0})",
    "Greater": "{0} > {1}",
    "GreaterEqual": "{0} >= {1}",
    "Less": "{0} < {1}",
    "LessEqual": "{0} <= {1}",
    "Log": "log_({0})",
    "Log1p": "(float)log1p((double){0})",
    "Log10": "(float)log10((double){0})",
    "Log2": "(float)log2((double){0})",
    "LogAddExp": "logaddexp_({0}, {1})",
    "LogicalAnd": "{0} && {1}",
    "LogicalNot": "!{0}",
    "LogicalOr": "{0} || {1}",
    "Maximum": "max_({0}, {1})",
    "Minimum": "min_({0}, {1})",
    "Multiply": "{0} * {1}",
    "Negative": "-{0}",
    "NotEqual": "{0} != {1}",
    "Power": "(float)pow((double){0}, (double){1})",
    "Reciprocal": "1.0f / {0}",
    "Select": "{0} ? {1} : {2}",
    "Round": "rintf({0})",
    "Sigmoid": "sigmoid_({0})",
    "Sign": "({0} > 0) - ({0} < 0)",
    "Sin": "(float)sin((double){0})",
    "Sinh": "(float)sinh((double){0})",
    "Sqrt": "sqrtf({0})",
    "Square": "{0} * {0}",
    "Subtract": "{0} - {1}",
    "Tanh": "tanh_({0})",
    "TanhSlope": "1.0f - {0} * {0}",
}
"""C expressions of one element of the output. `Reciprocal` and `TanhSlope` are our own,
for `COMPOSED`; the others have MLX's names."""

OF_ANY_TYPE = frozenset(
    {"Add", "Equal", "Greater", "GreaterEqual", "Less", "LessEqual", "LogicalAnd"}
    | {"LogicalNot", "LogicalOr", "Multiply", "Negative", "NotEqual", "Select"}
    | {"Square", "Subtract"}
)
"""Those whose expression is right for integers, too."""

RESHAPES = frozenset({"ExpandDims", "Flatten", "Reshape", "Squeeze", "Unflatten"})
"""Primitives that are all the same: elements in C order with another shape."""

IDENTITIES = RESHAPES | {"AsType", "Broadcast", "Contiguous", "Copy", "Depends"}
IDENTITIES |= {"Full", "Pad", "StopGradient"}
"""Primitives that change nothing if shape and dtype stay."""

AND, OR, SUM, PRODUCT, MINIMUM, MAXIMUM = range(6)
"""What `Reduce` does, in MLX's numbers."""

REDUCTIONS: dict[int, tuple[str, str]] = {
    AND: ("1", "{0} && {1}"),
    OR: ("0", "{0} || {1}"),
    SUM: ("0", "{0} + {1}"),
    PRODUCT: ("1", "{0} * {1}"),
    MINIMUM: ("INFINITY", "min_({0}, {1})"),
    MAXIMUM: ("-INFINITY", "max_({0}, {1})"),
}
"""Where each starts, and how it goes on."""


def _reduced(build: Builder, kind: int, value: Value) -> Value:
    """Over the last axis, which stays with length 1."""
    last = len(value.shape) - 1
    shape = (*value.shape[:-1], 1)
    return build("Reduce", value, shape=shape, arguments=(kind, [last]))


def _like(build: Builder, value: Value, shape: tuple[int, ...]) -> Value:
    return build("Broadcast", value, shape=shape, arguments=(shape,))


def _powers(build: Builder, x: Value) -> tuple[Value, Value, Value]:
    """Largest, `exp(x - largest)` and its sum, over the last axis."""
    largest = _reduced(build, MAXIMUM, x)
    powers = build("Exp", build("Subtract", x, _like(build, largest, x.shape)))
    return largest, powers, _reduced(build, SUM, powers)


def _softmax(build: Builder, node: Node) -> Value | None:
    (x,) = node.inputs
    _, powers, total = _powers(build, x)
    return build("Divide", powers, _like(build, total, x.shape))


def _logsumexp(build: Builder, node: Node) -> Value | None:
    largest, _, total = _powers(build, node.inputs[0])
    return build("Add", largest, build("Log", total))


def _rsqrt(build: Builder, node: Node) -> Value | None:
    (recip,) = node.arguments or (False,)
    if not recip:
        return None
    return build("Reciprocal", build("Sqrt", *node.inputs, arguments=(False,)))


NATURAL = 2
"""The base of `Log`, in MLX's numbers."""


def _log(build: Builder, node: Node) -> Value | None:
    (base,) = node.arguments or (NATURAL,)
    if base == NATURAL:
        return None
    name = {0: "Log2", 1: "Log10"}[base]
    return build(name, *node.inputs)


def _divide(build: Builder, node: Node) -> Value | None:
    """`dy / cosh(x)^2`, MLX's gradient of tanh, as `dy (1 - tanh(x)^2)`.

    It needs no other function, and nothing overflows.
    """
    dy, divisor = node.inputs
    square = build.maker(divisor)
    if square is None or square.primitive != "Square":
        return None
    cosh = build.maker(square.inputs[0])
    if cosh is None or cosh.primitive != "Cosh":
        return None
    slope = build("TanhSlope", build("Tanh", cosh.inputs[0]))
    return build("Multiply", dy, slope)


def _addmm(build: Builder, node: Node) -> Value | None:
    a, b, c = node.inputs
    alpha, beta = node.arguments
    if (alpha, beta) != (1.0, 1.0):
        return None
    product = build("Matmul", a, b, shape=node.output.shape)
    return build("Add", product, c)


def _convolution(build: Builder, node: Node) -> Value | None:
    """A product of patches, which are the same for the gradient of the kernels."""
    image, kernel = node.inputs
    stride, low, high, apart, gaps, groups, flip = node.arguments
    if groups != 1 or any(gap > 1 for gap in gaps):
        return None
    axes = list(range(1, len(stride) + 1))
    (batch, *sizes, channels), (filters, *taps, _) = image.shape, kernel.shape
    padded = [a + b + c for a, b, c in zip(sizes, low, high, strict=True)]
    image = build(
        "Pad",
        image,
        build.zero(),
        shape=(batch, *padded, channels),
        arguments=(axes, tuple(low), tuple(high)),
    )
    outputs = node.output.shape[1:-1]
    steps = c_strides(image.shape)
    shape = (batch, *outputs, *taps, channels)
    strides = (
        steps[0],
        *(step * s for step, s in zip(steps[1:-1], stride, strict=True)),
        *(step * s for step, s in zip(steps[1:-1], apart, strict=True)),
        1,
    )
    flat = build("Reshape", image, shape=(image.size,))
    windows = build("AsStrided", flat, shape=shape, arguments=(shape, strides, 0))
    line = prod(taps) * channels
    patches = build("Reshape", windows, shape=(batch * prod(outputs), line))
    if flip:
        start = (0, *(size - 1 for size in taps), 0)
        back = (1, *(-1 for _ in taps), 1)
        kernel = build("Slice", kernel, arguments=(start, (), back))
    kernel = build("Reshape", kernel, shape=(filters, line))
    kernel = build("Transpose", kernel, shape=(line, filters), arguments=([1, 0],))
    found = build("Matmul", patches, kernel, shape=(batch * prod(outputs), filters))
    return build("Reshape", found, shape=node.output.shape)


COMPOSED: dict[str, Callable[[Builder, Node], Value | None]] = {
    "AddMM": _addmm,
    "Convolution": _convolution,
    "Divide": _divide,
    "Log": _log,
    "LogSumExp": _logsumexp,
    "Softmax": _softmax,
    "Sqrt": _rsqrt,
}
"""Primitives made of others; None: not this one, with these arguments."""
