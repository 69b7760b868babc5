"""Digits: scikit-learn's bundled 8 x 8 handwritten digits, real and without a download.

Test digits are never seen in training; validation has drawings of training digits that
training does not have. A digit turned by a quarter is a class of its own in training,
and so is one turned by half or three quarters where that looks like no digit: 0, 1, 2,
5 and 8 look like themselves upside down, 6 and 9 like each other (they share a split).
"""

from __future__ import annotations

import hashlib
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mlpeft.errors import DataError
from mlpeft.tasks.families.class_pool import Character, ClassPoolFamily, Pool

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy.typing as npt

    from mlpeft.tasks.check import Problems

TRAIN_DIGITS = (0, 1, 3, 4, 7)
TEST_DIGITS = (2, 5, 6, 8, 9)
UPSIDE_DOWN_IS_A_DIGIT = (0, 1, 2, 5, 6, 8, 9)
VALIDATION_SHARE = 0.25
_FULL = 16


class Digits(ClassPoolFamily):
    """`digits`; images (8, 8, 1); task_params: split, rotations, classes."""

    def __init__(self) -> None:
        super().__init__("digits", DigitsSource())


class DigitsSource:
    """The classes of scikit-learn's load_digits."""

    params: tuple[str, ...] = ()

    def pool(self, split: str, task_params: Mapping[str, Any]) -> Pool:
        """The classes of a split."""
        return _pools()[split]

    def digests(self, task_params: Mapping[str, Any]) -> dict[str, str]:
        """SHA-256 of images and labels."""
        images, labels = _arrays()
        return {
            "digits": hashlib.sha256(images.tobytes() + labels.tobytes()).hexdigest()
        }

    def check(self, problems: Problems) -> None:
        """It has no task_params of its own."""


@lru_cache(maxsize=1)
def _arrays() -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
    """Images (1797, 8, 8), 0 paper to 16 ink, and the digit that each shows."""
    spec = find_spec("sklearn")
    if spec is None or not spec.submodule_search_locations:
        raise DataError(
            "the digits family needs scikit-learn, which has the images; run: "
            "pip install 'mlpeft[digits]'"
        )
    table = Path(spec.submodule_search_locations[0]) / "datasets/data/digits.csv.gz"
    if not table.is_file():
        from sklearn.datasets import load_digits

        bundle = load_digits()
        return bundle.images.astype(np.uint8), bundle.target.astype(np.uint8)
    # Read without importing scikit-learn: that takes a second, and brings another BLAS
    # into a process that computes with MLX.
    rows = np.loadtxt(table, np.uint8, delimiter=",")
    return rows[:, :-1].reshape(-1, 8, 8), rows[:, -1]


@lru_cache(maxsize=1)
def _pools() -> dict[str, Pool]:
    images, labels = _arrays()

    def characters(
        digits: tuple[int, ...], first: float, last: float
    ) -> tuple[Character, ...]:
        made = []
        for digit in digits:
            drawings = images[labels == digit]
            start, stop = round(first * len(drawings)), round(last * len(drawings))
            turns = (0, 1) if digit in UPSIDE_DOWN_IS_A_DIGIT else (0, 1, 2, 3)
            made.append(Character(str(digit), drawings[start:stop], turns))
        return tuple(made)

    # The set is ordered by writer: its last quarter is by other hands than the first.
    seen = 1.0 - VALIDATION_SHARE
    return {
        "train": Pool(characters(TRAIN_DIGITS, 0.0, seen), _FULL, rotated=True),
        "val": Pool(characters(TRAIN_DIGITS, seen, 1.0), _FULL, rotated=True),
        "test": Pool(characters(TEST_DIGITS, 0.0, 1.0), _FULL),
    }
