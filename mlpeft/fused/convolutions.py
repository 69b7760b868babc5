"""C of convolutions over images with gaps: the gradients of those with strides.

Those without gaps are made of products, see `primitives`. With gaps of zeros between
pixels, an output sees a pixel through some of the kernel's taps alone, which depend on
where it is modulo the gap. For each such phase the taps that count are collected, and
one product does the rest: no zero is multiplied.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import product
from typing import TYPE_CHECKING

from mlpeft.fused.graph import Unsupported
from mlpeft.fused.loops import nest
from mlpeft.fused.products import sgemm
from mlpeft.fused.views import Buffer, View

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(eq=False, slots=True)
class Convolution:
    """Images (n, h, w, c) with kernels (f, kh, kw, c) to (n, oh, ow, f).

    Attributes:
        target: In C order.
        image: Its channels lie side by side.
        kernel: Any view.
        blas: Whether large products may be those of a BLAS library.
        stride: Of the outputs; 1 where there are gaps.
        low: Zeros before each axis, in numbers of the image with its gaps.
        high: Those after it; the target's shape has them.
        kernel_dilation: From one tap to the next.
        input_dilation: From one pixel to the next.
        groups: Of channels.
        flip: Whether the taps are in reverse.
        room: Memory for patches, taps and one phase of the output.
    """

    target: View
    image: View
    kernel: View
    blas: bool
    stride: Sequence[int]
    low: Sequence[int]
    high: Sequence[int]
    kernel_dilation: Sequence[int]
    input_dilation: Sequence[int]
    groups: int
    flip: bool
    room: list[Buffer] = field(default_factory=list)

    def __post_init__(self) -> None:
        gaps = any(d > 1 for d in self.input_dilation)
        strides = any(s > 1 for s in self.stride)
        if self.groups != 1 or len(self.stride) != 2 or not gaps or strides:
            raise Unsupported("a convolution with groups, or with strides and gaps")
        rows = max(self._rows(phase) for phase in self._phases())
        taps = max(len(self._taps(phase)) for phase in self._phases())
        channels, filters = self.image.shape[-1], self.kernel.shape[0]
        sizes = rows * taps * channels, taps * channels * filters, rows * filters
        self.room = [Buffer(size, "float32") for size in sizes]

    @property
    def reads(self) -> list[View]:
        """Images and kernels."""
        return [self.image, self.kernel]

    @property
    def writes(self) -> list[View]:
        """The target and the room."""
        room = [View.whole(buffer, (buffer.size,)) for buffer in self.room]
        return [self.target, *room]

    def body(self) -> str:
        """Each phase by itself."""
        return "\n".join(self._phase(phase) for phase in self._phases())

    def _phases(self) -> list[tuple[int, ...]]:
        return list(product(*(range(d) for d in self.input_dilation)))

    def _lengths(self, phase: tuple[int, ...]) -> list[int]:
        """Outputs of a phase along each axis."""
        axes = zip(self.target.shape[1:3], phase, self.input_dilation, strict=True)
        return [-(-(size - first) // gap) for size, first, gap in axes]

    def _rows(self, phase: tuple[int, ...]) -> int:
        height, width = self._lengths(phase)
        return self.target.shape[0] * height * width

    def _taps(self, phase: tuple[int, ...]) -> list[list[tuple[int, int]]]:
        """The taps that count: (index in the kernel, first pixel) along each axis."""
        along = []
        for axis in (0, 1):
            size = self.kernel.shape[1 + axis]
            gap = self.input_dilation[axis]
            found = []
            for tap in range(size):
                place = phase[axis] + tap * self.kernel_dilation[axis] - self.low[axis]
                if place % gap == 0:
                    found.append((size - 1 - tap if self.flip else tap, place // gap))
            along.append(found)
        return [list(pair) for pair in product(*along)]

    def _phase(self, phase: tuple[int, ...]) -> str:
        """Patches and taps, their product, and its lines put in their places."""
        taps = self._taps(phase)
        height, width = self._lengths(phase)
        n, high, wide, channels = self.image.shape
        filters = self.kernel.shape[0]
        s0, s1, s2, _ = self.image.strides
        k0, k1, k2, k3 = self.kernel.strides
        t0, t1, t2, _ = self.target.strides
        gap_h, gap_w = self.input_dilation
        rows, long = n * height * width, len(taps) * channels
        to = (
            f"w0 + i0 * {t0} + (i1 * {gap_h} + {phase[0]}) * {t1} "
            f"+ (i2 * {gap_w} + {phase[1]}) * {t2}"
        )
        if not taps:
            zeros = f"memset({to}, 0, {4 * filters});"
            return nest([n, height, width], zeros)
        row = f"((i0 * {height} + i1) * {width} + i2)"
        collect, weigh = [f"float *line = w1 + {row} * {long};"], []
        for number, ((tap_h, first_h), (tap_w, first_w)) in enumerate(taps):
            collect.append(
                f"{{ long y = i1 + {first_h}, x = i2 + {first_w};\n"
                f"if (y >= 0 && y < {high} && x >= 0 && x < {wide})\n"
                f"memcpy(line + {number * channels}, "
                f"r0 + i0 * {s0} + y * {s1} + x * {s2}, {4 * channels});\n"
                f"else memset(line + {number * channels}, 0, {4 * channels}); }}"
            )
            start = f"r1 + {tap_h * k1 + tap_w * k2}"
            weigh.append(
                f"w2[({number * channels} + i0) * {filters} + i1] = "
                f"({start})[i0 * {k3} + i1 * {k0}];"
            )
        sizes = (rows, filters, long)
        lines = f"w1, {long}, 1, w2, {filters}, w3, {filters}"
        call = f"product_({rows}, {filters}, {long}, {lines});"
        if self.blas:
            call = sgemm(sizes, ("w1", long, 1), ("w2", filters, 1), ("w3", filters))
        put = f"memcpy({to}, w3 + {row} * {filters}, {4 * filters});"
        return "\n".join(
            [
                nest([n, height, width], "\n".join(collect)),
                nest([channels, filters], "\n".join(weigh)),
                call,
                nest([n, height, width], put),
            ]
        )
