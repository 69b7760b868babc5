"""Classification of points: by lines, and by patterns that no line separates."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mlpeft.tasks.families.plane import Pattern, PlaneFamily

if TYPE_CHECKING:
    from mlpeft.tasks.families.plane import Floats, Labels


def _sectors(y: Labels, n: int, u: Floats, v: Floats) -> tuple[Floats, Floats]:
    return v, (y + u) / n


def _intervals(y: Labels, n: int, u: Floats, _v: Floats) -> Floats:
    return (y + u) / n


SECTORS = Pattern(square=_sectors, line=_intervals)


class LinearClassification(PlaneFamily):
    """`linear_classification`; task_params: rotation_angle, translation, noise."""

    def __init__(self) -> None:
        super().__init__("linear_classification", {"sectors": SECTORS})


SPIRAL_TURNS = 0.5
_SPIRAL_BANDS = 3


def _repeated(y: Labels, n: int, u: Floats, times: int) -> Floats:
    """[0, 1) divided into `times` * n equal parts that cycle through the classes."""
    part = times * u
    repeat = np.floor(part)
    return (n * repeat + y + (part - repeat)) / (times * n)


def _opposite(y: Labels, n: int, u: Floats, v: Floats) -> tuple[Floats, Floats]:
    return v, _repeated(y, n, u, 2)


def _rings(y: Labels, n: int, u: Floats, v: Floats) -> tuple[Floats, Floats]:
    return (y + u) / n, v


def _mirrored(y: Labels, n: int, u: Floats, v: Floats) -> Floats:
    return 0.5 + np.where(v < 0.5, -0.5, 0.5) * (y + u) / n


def _arms(y: Labels, n: int, u: Floats, v: Floats) -> tuple[Floats, Floats]:
    return v, (y + u) / n - SPIRAL_TURNS * v


PATTERNS = {
    "xor": Pattern(
        square=_opposite,
        line=lambda y, n, u, _: _repeated(y, n, u, 2),
        # xor has period half a turn, so this equals a range of a sixth elsewhere.
        max_turn=1.0 / 12.0,
    ),
    "circles": Pattern(square=_rings, line=_mirrored),
    "spiral": Pattern(
        square=_arms, line=lambda y, n, u, _: _repeated(y, n, u, _SPIRAL_BANDS)
    ),
}


class NonlinearClassification(PlaneFamily):
    """`nonlinear_classification`; task_params as for linear, and pattern."""

    def __init__(self) -> None:
        super().__init__("nonlinear_classification", PATTERNS)
