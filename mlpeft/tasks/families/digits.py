"""Digits: scikit-learn's bundled 8 x 8 handwritten digits, real and without a download.

Test digits are never seen in training; validation has other drawings of the training
digits. In training a digit rotated by 90 degrees is another class, and so is one
rotated by 180 or 270 degrees unless that looks like a digit: 0, 1, 2, 5 and 8 look
like themselves upside down, 6 and 9 like each other (they share a split).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mlpeft.datasets.digits import FULL, NAME, digits_sha256, read_digits
from mlpeft.tasks.families.class_pool import (
    Character,
    ClassPoolFamily,
    Pool,
    describe_pools,
)

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from mlpeft.tasks.check import Problems

TRAIN_DIGITS = (0, 1, 3, 4, 7)
TEST_DIGITS = (2, 5, 6, 8, 9)
UPSIDE_DOWN_IS_A_DIGIT = (0, 1, 2, 5, 6, 8, 9)
VALIDATION_SHARE = 0.25


class Digits(ClassPoolFamily):
    """`digits`; images (8, 8, 1); task_params: split, rotations, classes."""

    def __init__(self) -> None:
        super().__init__("digits", DigitsSource())


def describe_digits(_: Mapping[str, Any], __: str | Path | None) -> str:
    """How many images and classes the data set has."""
    return describe_pools(_build_pools())


class DigitsSource:
    """The classes of scikit-learn's load_digits."""

    params: tuple[str, ...] = ()

    def __init__(self) -> None:
        self._pools: dict[str, Pool] = {}

    def pool(self, split: str, task_params: Mapping[str, Any]) -> Pool:
        """The classes of a split."""
        if not self._pools:
            self._pools = _build_pools()
        return self._pools[split]

    def digests(self, task_params: Mapping[str, Any]) -> dict[str, str]:
        """SHA-256 of images and labels."""
        return {NAME: digits_sha256()}

    def check(self, problems: Problems) -> None:
        """It has no task_params."""


def _build_pools() -> dict[str, Pool]:
    images, labels = read_digits()

    def characters(
        digits: tuple[int, ...], first: float, last: float
    ) -> tuple[Character, ...]:
        result = []
        for digit in digits:
            drawings = images[labels == digit]
            start, stop = round(first * len(drawings)), round(last * len(drawings))
            rotations = (0, 1) if digit in UPSIDE_DOWN_IS_A_DIGIT else (0, 1, 2, 3)
            result.append(Character(str(digit), drawings[start:stop], rotations))
        return tuple(result)

    # The set is ordered by writer: its last quarter has other writers than the rest.
    train_share = 1.0 - VALIDATION_SHARE
    return {
        "train": Pool(characters(TRAIN_DIGITS, 0.0, train_share), FULL, rotated=True),
        "val": Pool(characters(TRAIN_DIGITS, train_share, 1.0), FULL, rotated=True),
        "test": Pool(characters(TEST_DIGITS, 0.0, 1.0), FULL),
    }
