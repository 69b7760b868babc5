"""A measurement over meta-iterations in bounded memory, for runs of any length."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import numpy as np

from mlpeft.charts.line_chart import Series

if TYPE_CHECKING:
    from numpy.typing import NDArray

MOST_BUCKETS: Final = 2048
"""Beyond it neighbours are merged in pairs."""


class Curve:
    """Sums of a measurement by bucket of neighbouring meta-iterations.

    Each bucket has the count, sum and sum of squares of its values, so that means and
    standard deviations of any window follow without the values themselves.
    """

    def __init__(self) -> None:
        self._rows: list[list[float]] = []  # count, sum of x, of y, of y squared
        self._size = 1  # values of a full bucket
        self.last: float | None = None
        """The newest value."""
        self.count = 0
        """Values so far."""

    def add(self, x: float, y: float) -> None:
        """Add a value; those that are not finite are left out."""
        if not math.isfinite(y):
            return
        self.last, self.count = y, self.count + 1
        if self._rows and self._rows[-1][0] < self._size:
            row = self._rows[-1]
            row[0] += 1
            row[1] += x
            row[2] += y
            row[3] += y * y
            return
        self._rows.append([1, x, y, y * y])
        if len(self._rows) > MOST_BUCKETS:
            self._merge()

    def clear_after(self, x: float) -> None:
        """Drop buckets that lie beyond x: a resumed run measures them again."""
        while self._rows and self._rows[-1][1] / self._rows[-1][0] > x:
            self._rows.pop()

    def _merge(self) -> None:
        pairs = np.asarray(self._rows[: len(self._rows) // 2 * 2]).reshape(-1, 2, 4)
        rest = self._rows[len(self._rows) // 2 * 2 :]
        self._rows = pairs.sum(axis=1).tolist() + rest
        self._size *= 2

    def series(
        self,
        name: str,
        points: int,
        x_range: tuple[float, float] | None = None,
        style: int | None = None,
    ) -> Series:
        """Means with a band of one standard deviation to both sides.

        Args:
            name: Of the series.
            points: Points at most.
            x_range: What is shown of it; None: all.
            style: See `Series`.
        """
        rows: NDArray[np.float64] = np.asarray(self._rows, dtype=np.float64)
        rows = rows.reshape(-1, 4)
        if x_range is not None:
            middle = rows[:, 1] / rows[:, 0]
            rows = rows[(middle >= x_range[0]) & (middle <= x_range[1])]
        if len(rows) > points:
            starts = np.linspace(0, len(rows), points, endpoint=False).astype(int)
            rows = np.add.reduceat(rows, starts, axis=0)
        count = rows[:, 0]
        mean = rows[:, 2] / count
        deviation = np.sqrt(np.maximum(rows[:, 3] / count - mean**2, 0.0))
        deviation[count < 2] = np.nan
        return Series(
            name,
            (rows[:, 1] / count).tolist(),
            mean.tolist(),
            (mean - deviation).tolist(),
            (mean + deviation).tolist(),
            style,
        )
