"""C of matrix products."""

from __future__ import annotations

from dataclasses import dataclass, replace

from mlpeft.fused.graph import Unsupported
from mlpeft.fused.loops import LANES, at, nest
from mlpeft.fused.views import Buffer, View

BLAS_FROM = 2**20
"""Multiplications from which a product is the BLAS library's."""
FEW_ROWS = 6
"""Rows up to which sums in lanes are cheaper than a transposed copy."""

ROW_MAJOR, PLAIN, TRANSPOSED = 101, 111, 112
"""Arguments of `cblas_sgemm`."""


@dataclass(slots=True)
class Product:
    """`target = a b` of matrices, along the axes before the last two one by one."""

    target: View
    a: View
    b: View
    blas: bool = True
    scratch: Buffer | None = None

    def __post_init__(self) -> None:
        if self.target.buffer.dtype != "float32":
            raise Unsupported(f"Matmul of {self.target.buffer.dtype}")
        column = self.target.shape[-1] == 1 and _runs(self.target, -2)
        if column or not _runs(self.target, -1):
            # The product of the transposed matrices is the transposed product.
            self.target = _swapped(self.target)
            self.a, self.b = _swapped(self.b), _swapped(self.a)
        k, n = self.b.shape[-2:]
        room = {"packed": k * n, "narrow": self.a.shape[-2] * n}.get(self._way(), 0)
        if room:
            self.scratch = Buffer(room, "float32")

    @property
    def reads(self) -> list[View]:
        """Both factors."""
        return [self.a, self.b]

    @property
    def writes(self) -> list[View]:
        """The target, and room for a transposed copy."""
        if self.scratch is None:
            return [self.target]
        return [self.target, View.whole(self.scratch, (self.scratch.size,))]

    def _way(self) -> str:
        """How it is computed, by sizes and by what lies side by side."""
        m, k = self.a.shape[-2:]
        n = self.b.shape[-1]
        blas = self.blas and all(
            _runs(view, -1) or _runs(view, -2) for view in (self.a, self.b)
        )
        if m * n * k >= BLAS_FROM and blas:
            return "blas"
        dots = _runs(self.b, -2) and _runs(self.a, -1) and k >= LANES
        if dots and (m == 1 or n < LANES):
            return "dots"
        if n < LANES <= m and _runs(self.a, -2):
            return "narrow"
        if _runs(self.b, -1):
            return "rows"
        return "dots" if dots and m <= FEW_ROWS else "packed"

    def body(self) -> str:
        """One call, or one for each matrix of a batch."""
        views = [("r0", self.a), ("r1", self.b), ("w0", self.target)]
        a, b, c = (f"{name} + {at(v.strides[:-2])}" for name, v in views)
        m, k = self.a.shape[-2:]
        n = self.b.shape[-1]
        (as0, as1), (bs0, bs1) = self.a.strides[-2:], self.b.strides[-2:]
        ldc = self.target.strides[-2]
        sizes = f"{m}, {n}, {k}"
        match self._way():
            case "blas":
                call = sgemm((m, n, k), (a, as0, as1), (b, bs0, bs1), (c, ldc))
            case "rows":
                call = f"product_({sizes}, {a}, {as0}, {as1}, {b}, {bs0}, {c}, {ldc});"
            case "narrow":
                # The transposed product, whose rows are long, and a transposed copy.
                rows = (
                    f"product_({n}, {m}, {k}, {b}, {bs1}, {bs0}, {a}, {as1}, w1, {m});"
                )
                call = f"{rows}\ntranspose_({m}, {n}, w1, {m}, {c}, {ldc});"
            case "dots":
                call = f"dots_({sizes}, {a}, {as0}, {b}, {bs1}, {c}, {ldc});"
            case _:
                copy = f"transpose_({k}, {n}, {b}, {bs1}, w1, {n});"
                if not _runs(self.b, -2):
                    take = f"w1[i0 * {n} + i1] = ({b})[i0 * {bs0} + i1 * {bs1}];"
                    copy = nest([k, n], take)
                rows = f"product_({sizes}, {a}, {as0}, {as1}, w1, {n}, {c}, {ldc});"
                call = f"{copy}\n{rows}"
        return nest(self.target.shape[:-2], call)


def sgemm(
    sizes: tuple[int, int, int],
    a: tuple[str, int, int],
    b: tuple[str, int, int],
    c: tuple[str, int],
) -> str:
    """A call of the BLAS library, or of our own loops where there is none.

    Args:
        sizes: m, n and k.
        a: Address and strides of (m, k).
        b: Of (k, n).
        c: Address and stride of the rows of (m, n).
    """
    m, n, k = sizes
    (ways_a, lda), (ways_b, ldb) = (
        (PLAIN, max(s0, cols)) if _unit(s1, cols) else (TRANSPOSED, max(s1, rows))
        for (_, s0, s1), rows, cols in ((a, m, k), (b, k, n))
    )
    return (
        f"sgemm({ROW_MAJOR}, {ways_a}, {ways_b}, {m}, {n}, {k}, 1.0f, {a[0]}, {lda}, "
        f"{b[0]}, {ldb}, 0.0f, {c[0]}, {max(c[1], n)});"
    )


def _unit(stride: int, length: int) -> bool:
    return stride == 1 or length == 1


def _runs(view: View, axis: int) -> bool:
    """Whether elements along an axis lie side by side."""
    return _unit(view.strides[axis], view.shape[axis])


def _swapped(view: View) -> View:
    """With the last two axes swapped."""
    order = [*range(len(view.shape) - 2), -1, -2]
    shape, strides = (
        tuple(values[axis] for axis in order) for values in (view.shape, view.strides)
    )
    return replace(view, shape=shape, strides=strides)
