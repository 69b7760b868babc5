"""Omniglot: handwritten characters of 45 or 50 alphabets, 20 drawings each.

Train and val are Omniglot's background alphabets, test its evaluation alphabets. Every
sixth background alphabet, in the order of the file, is held out for validation. In
training a character turned by 90, 180 or 270 degrees is a class of its own, as in
section 6 of the Reptile paper (arXiv 1803.02999).
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from mlpeft.datasets.digest import file_sha256
from mlpeft.datasets.folders import find
from mlpeft.errors import DataError
from mlpeft.tasks.families.class_pool import Character, ClassPoolFamily, Pool

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from mlpeft.tasks.check import Problems

FILE = "omniglot.npz"
REMEDY = "run: mlpeft data fetch omniglot, or mlpeft data import omniglot FILES"
VALIDATION_EVERY = 6
_ARRAYS = ("images", "class_names", "class_alphabet", "class_split")


class Omniglot(ClassPoolFamily):
    """`omniglot`; images (28, 28, 1); task_params: split, rotations, classes."""

    def __init__(self, data_dir: str | Path | None = None) -> None:
        super().__init__("omniglot", OmniglotSource(data_dir))


class OmniglotSource:
    """The classes of omniglot.npz, loaded once for a process and a file."""

    params: tuple[str, ...] = ()

    def __init__(self, data_dir: str | Path | None = None) -> None:
        self._data_dir = data_dir
        self._pools: dict[str, Pool] = {}

    def pool(self, split: str, task_params: Mapping[str, Any]) -> Pool:
        """The classes of a split."""
        if not self._pools:
            self._pools = _load(self._path())
        return self._pools[split]

    def digests(self, task_params: Mapping[str, Any]) -> dict[str, str]:
        """SHA-256 of the file."""
        return {FILE: file_sha256(self._path())}

    def check(self, problems: Problems) -> None:
        """It has no task_params of its own."""

    def _path(self) -> Path:
        return find(FILE, self._data_dir, REMEDY)


@lru_cache(maxsize=2)
def _load(path: Path) -> dict[str, Pool]:
    """The three pools of a file.

    Raises:
        DataError: If the file is not what docs/data says.
    """
    try:
        with np.load(path) as archive:
            images, names, alphabets, splits = (archive[name] for name in _ARRAYS)
    except (OSError, ValueError, KeyError, EOFError) as error:
        raise DataError(
            f"{path} cannot be read as Omniglot: {error}; {REMEDY}"
        ) from error
    count = len(names)
    if (
        images.dtype != np.uint8
        or images.ndim != 3
        or count == 0
        or len(images) % count
    ):
        raise DataError(
            f"{path} is damaged: expected uint8 images (classes x drawings, height, "
            f"width), got {images.dtype} {images.shape} for {count} classes; {REMEDY}"
        )
    by_class = images.reshape(count, -1, *images.shape[1:])
    held_out = np.unique(alphabets[splits == 0])[
        VALIDATION_EVERY - 1 :: VALIDATION_EVERY
    ]
    split_of = np.where(
        splits == 1, "test", np.where(np.isin(alphabets, held_out), "val", "train")
    )
    return {
        split: Pool(
            tuple(
                Character(str(names[index]), by_class[index], turns=(0, 1, 2, 3))
                for index in np.flatnonzero(split_of == split)
            ),
            rotated=split == "train",
        )
        for split in ("train", "val", "test")
    }
