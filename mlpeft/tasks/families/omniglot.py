"""Omniglot: handwritten characters of 45 or 50 alphabets, 20 drawings each.

Train and val are Omniglot's background alphabets, test its evaluation alphabets. Every
sixth background alphabet, in the file's order, is held out for validation. In training
a character rotated by 90, 180 or 270 degrees is another class, as in section 6 of the
Reptile paper (arXiv 1803.02999).
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from mlpeft.datasets.folders import find
from mlpeft.datasets.omniglot import FILE, REMEDY, read_omniglot
from mlpeft.tasks.families.class_pool import (
    SPLITS,
    Character,
    ClassPoolFamily,
    Pool,
    describe_pools,
)

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from mlpeft.tasks.check import Problems

VALIDATION_EVERY = 6


class Omniglot(ClassPoolFamily):
    """`omniglot`; images (28, 28, 1); task_params: split, rotations, classes."""

    def __init__(self, data_dir: str | Path | None = None) -> None:
        super().__init__("omniglot", OmniglotSource(data_dir))


def describe_omniglot(_: Mapping[str, Any], data_dir: str | Path | None) -> str:
    """How many images and classes the data set has."""
    source = OmniglotSource(data_dir)
    return describe_pools({split: source.pool(split, {}) for split in SPLITS})


class OmniglotSource:
    """The classes of omniglot.npz, loaded once per process and file."""

    params: tuple[str, ...] = ()

    def __init__(self, data_dir: str | Path | None = None) -> None:
        self._data_dir = data_dir
        self._pools: dict[str, Pool] = {}
        self._digest = ""  # of the pools' data

    def pool(self, split: str, task_params: Mapping[str, Any]) -> Pool:
        """The classes of a split."""
        if not self._pools:
            self._pools, self._digest = _load(self._path())
        return self._pools[split]

    def digests(self, task_params: Mapping[str, Any]) -> dict[str, str]:
        """SHA-256 of the contents."""
        self.pool("train", task_params)
        return {FILE: self._digest}

    def check(self, problems: Problems) -> None:
        """It has no task_params."""

    def _path(self) -> Path:
        return find(FILE, self._data_dir, REMEDY)


@lru_cache(maxsize=2)
def _load(path: Path) -> tuple[dict[str, Pool], str]:
    """The three pools of a file, and the digest of its contents."""
    arrays = read_omniglot(path)
    evaluation = arrays.class_split == 1
    background = np.unique(arrays.class_alphabet[~evaluation])
    held_out = np.isin(
        arrays.class_alphabet, background[VALIDATION_EVERY - 1 :: VALIDATION_EVERY]
    )
    split_of = np.where(evaluation, "test", np.where(held_out, "val", "train"))
    pools = {
        split: Pool(
            tuple(
                Character(
                    str(arrays.class_names[index]), arrays.images[index], (0, 1, 2, 3)
                )
                for index in np.flatnonzero(split_of == split)
            ),
            rotated=split == "train",
        )
        for split in ("train", "val", "test")
    }
    return pools, arrays.sha256()
