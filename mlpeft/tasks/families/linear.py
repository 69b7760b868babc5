"""Linear classification: sectors of equal angle that meet in one point.

Two classes are the two sides of a line; more are what the largest of num_classes linear
functions tells apart. With one input dimension the classes are intervals, in order.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

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
