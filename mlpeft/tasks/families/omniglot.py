"""Omniglot: handwritten characters of 45 or 50 alphabets, 20 drawings each.

`task_params.class_split` decides which characters train, validate and test:

`alphabets` (default)   train and val are Omniglot's background alphabets, test its
                        evaluation alphabets; every sixth background alphabet, in the
                        file's order, is held out for validation
`characters`            1,200 characters of any alphabet train, as in the MAML and
                        Reptile papers; of the others, 60 validate and the rest test

In training a character rotated by 90, 180 or 270 degrees is another class, as in
section 6 of the Reptile paper (arXiv 1803.02999).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from mlpeft.datasets.folders import find
from mlpeft.datasets.omniglot import FILE, REMEDY, OmniglotArrays, read_omniglot
from mlpeft.datasets.split_assignment import assign_splits
from mlpeft.errors import DataError
from mlpeft.file_caches import cached_read
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

CLASS_SPLITS = ("alphabets", "characters")
VALIDATION_EVERY = 6
TRAIN_CHARACTERS = 1200
VALIDATION_CHARACTERS = 60


class Omniglot(ClassPoolFamily):
    """`omniglot`; images (28, 28, 1); task_params: class_split and a pool's."""

    def __init__(self, data_dir: str | Path | None = None) -> None:
        super().__init__("omniglot", OmniglotSource(data_dir))


def describe_omniglot(
    task_params: Mapping[str, Any], data_dir: str | Path | None
) -> str:
    """How many images and classes the data set has."""
    source = OmniglotSource(data_dir)
    return describe_pools({split: source.pool(split, task_params) for split in SPLITS})


class OmniglotSource:
    """The classes of omniglot.npz, loaded once per process, file and class split."""

    params: tuple[str, ...] = ("class_split",)

    def __init__(self, data_dir: str | Path | None = None) -> None:
        self._data_dir = data_dir
        # By class split: its pools and the digest of their data.
        self._loaded: dict[str, tuple[dict[str, Pool], str]] = {}

    def pool(self, split: str, task_params: Mapping[str, Any]) -> Pool:
        """The classes of a split.

        Raises:
            DataError: If the file has none for it.
        """
        pools = self._load(task_params)[0]
        if not pools[split].characters:
            counts = ", ".join(f"{k} {len(it.characters)}" for k, it in pools.items())
            raise DataError(
                f"{FILE} has no characters for {split} ({counts}): train and val are "
                f"background alphabets (class_split 0), of which at least "
                f"{VALIDATION_EVERY} are needed, and test is evaluation alphabets "
                f"(class_split 1); {REMEDY}"
            )
        return pools[split]

    def digests(self, task_params: Mapping[str, Any]) -> dict[str, str]:
        """SHA-256 of the contents."""
        return {FILE: self._load(task_params)[1]}

    def check(self, problems: Problems) -> None:
        """`class_split` is one of `CLASS_SPLITS`."""
        problems.check_choice("class_split", CLASS_SPLITS)

    def _load(self, task_params: Mapping[str, Any]) -> tuple[dict[str, Pool], str]:
        name = str(task_params.get("class_split", CLASS_SPLITS[0]))
        if name not in self._loaded:
            path = find(FILE, self._data_dir, REMEDY)
            self._loaded[name] = _load_pools(path, name)
        return self._loaded[name]


@cached_read(maxsize=4)
def _load_pools(path: Path, class_split: str) -> tuple[dict[str, Pool], str]:
    """The three pools of a file, and the digest of its contents."""
    arrays = read_omniglot(path)
    by_alphabet = class_split == CLASS_SPLITS[0]
    splits = _split_alphabets(arrays) if by_alphabet else _split_characters(arrays)
    pools = {
        split: Pool(
            tuple(
                Character(
                    str(arrays.class_names[index]), arrays.images[index], (0, 1, 2, 3)
                )
                for index in np.flatnonzero(splits == split)
            ),
            rotated=split == "train",
        )
        for split in SPLITS
    }
    return pools, arrays.sha256()


def _split_alphabets(arrays: OmniglotArrays) -> npt.NDArray[np.str_]:
    """The split of each class, by Omniglot's own split of the alphabets."""
    evaluation = arrays.class_split == 1
    background = np.unique(arrays.class_alphabet[~evaluation])
    held_out = np.isin(
        arrays.class_alphabet, background[VALIDATION_EVERY - 1 :: VALIDATION_EVERY]
    )
    return np.where(evaluation, "test", np.where(held_out, "val", "train"))


def _split_characters(arrays: OmniglotArrays) -> npt.NDArray[np.str_]:
    """The split of each class: characters ordered by the SHA-256 of their names."""
    names = [str(name) for name in arrays.class_names]
    test = len(names) - TRAIN_CHARACTERS - VALIDATION_CHARACTERS
    if test < 1:
        raise DataError(
            f"class_split 'characters' needs more than "
            f"{TRAIN_CHARACTERS + VALIDATION_CHARACTERS} characters, but {FILE} has "
            f"{len(names)}; use class_split: alphabets, or {REMEDY}"
        )
    shares = (TRAIN_CHARACTERS, VALIDATION_CHARACTERS, test)
    assigned = assign_splits(names, shares, order="characters")
    split_of = {name: split for split in SPLITS for name in assigned[split]}
    return np.array([split_of[name] for name in names])
