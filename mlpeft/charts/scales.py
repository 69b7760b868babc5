"""Axes: from numbers to pixels, with round ticks."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

_STEPS: Final = (1.0, 2.0, 2.5, 5.0, 10.0)


@dataclass(frozen=True, slots=True)
class Scale:
    """A linear or logarithmic axis.

    Attributes:
        low: The smallest number shown.
        high: The largest; more than `low`.
        start: Pixel of `low`.
        end: Pixel of `high`.
        log: Whether equal ratios have equal lengths; then `low` is positive.
    """

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def __call__(self, value: float) -> float:
        """The pixel of a number, clipped to just beyond the axis."""
        share = (self._inner(value) - self._inner(self.low)) / (
            self._inner(self.high) - self._inner(self.low)
        )
        return self.start + min(max(share, -0.05), 1.05) * (self.end - self.start)

    def _inner(self, value: float) -> float:
        return math.log(max(value, self.low * 1e-3)) if self.log else value

    def ticks(self, count: int) -> list[float]:
        """About `count` round numbers on the axis, ascending."""
        return log_ticks(self.low, self.high) if self.log else self._linear(count)

    def _linear(self, count: int) -> list[float]:
        step = _round_step((self.high - self.low) / max(count, 1))
        first = math.ceil(self.low / step - 1e-9)
        last = math.floor(self.high / step + 1e-9)
        return [round(index * step, 12) for index in range(first, last + 1)]


def log_ticks(low: float, high: float) -> list[float]:
    """1, 2 and 5 times powers of ten, or the powers alone where there are many."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    parts = (1, 2, 5) if len(powers) <= 4 else (1,)
    ticks = [part * 10.0**power for power in powers for part in parts]
    return [tick for tick in ticks if low <= tick * (1 + 1e-9) and tick <= high * 1.001]


def span(
    values: Iterable[float], *, log: bool, pad: float = 0.06
) -> tuple[float, float]:
    """The smallest range that holds all finite values, with a margin.

    Args:
        values: Any numbers.
        log: Whether only positive ones count.
        pad: Margin as a share of the range.
    """
    finite = [v for v in values if math.isfinite(v) and (v > 0 or not log)]
    if not finite:
        return (0.1, 1.0) if log else (0.0, 1.0)
    low, high = min(finite), max(finite)
    if log:
        ratio = max(high / low, 1.05) ** pad
        return low / ratio, max(high, low * 1.05) * ratio
    width = high - low or abs(high) * 0.1 or 1.0
    return low - pad * width, high + pad * width


def _round_step(step: float) -> float:
    power = 10.0 ** math.floor(math.log10(step))
    return next(power * part for part in _STEPS if power * part >= step * 0.999)


def tick_label(value: float) -> str:
    """A tick as short text: `0.05`, `1,500`, `2e-05`."""
    if value == 0:
        return "0"
    if abs(value) >= 1000:
        return f"{value:,.0f}" if abs(value) < 1e6 else f"{value / 1e6:g}M"
    return f"{value:.4g}"
