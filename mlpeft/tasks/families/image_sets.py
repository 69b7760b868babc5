"""Colour images of few-shot papers: mini_imagenet, tiered_imagenet, cifar_fs, cub.

Images are (side, side, 3), 84 or 32 pixels wide, mapped from the file that `mlpeft data
import` makes. Classes train, validate and test as in the papers.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from mlpeft.datasets.folders import find
from mlpeft.datasets.image_sets.image_file import SPLITS, read_images
from mlpeft.datasets.image_sets.sets import IMAGE_SETS
from mlpeft.tasks.assets import Asset, AssetKind
from mlpeft.tasks.families.class_pool import (
    Character,
    ClassPoolFamily,
    Pool,
    describe_pools,
)

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from mlpeft.datasets.image_sets.image_file import ImageArrays
    from mlpeft.tasks.check import Problems


def image_set_family(name: str, data_dir: str | Path | None) -> ClassPoolFamily:
    """The family of a data set: images (side, side, 3); task_params: a pool's."""
    return ClassPoolFamily(name, ImageSetSource(name, data_dir))


def image_set_assets(name: str) -> tuple[Asset, ...]:
    """The file of a data set."""
    return (Asset(IMAGE_SETS[name].file, AssetKind.DATA),)


def describe_image_set(name: str, data_dir: str | Path | None) -> str:
    """How many images and classes a data set has."""
    source = ImageSetSource(name, data_dir)
    return describe_pools({split: source.pool(split, {}) for split in SPLITS})


class ImageSetSource:
    """The classes of a data set's file, mapped once per process."""

    params: tuple[str, ...] = ()

    def __init__(self, name: str, data_dir: str | Path | None = None) -> None:
        self._set = IMAGE_SETS[name]
        self._data_dir = data_dir

    def pool(self, split: str, task_params: Mapping[str, Any]) -> Pool:
        """The classes of a split."""
        return _pools(self._path())[split]

    def digests(self, task_params: Mapping[str, Any]) -> dict[str, str]:
        """SHA-256 of the contents, from when the file was made."""
        return {self._set.file: read_images(self._path()).sha256}

    def check(self, problems: Problems) -> None:
        """Nothing of its own."""

    def _path(self) -> Path:
        return find(self._set.file, self._data_dir, self._set.remedy)


def _pools(path: Path) -> dict[str, Pool]:
    return _build_pools(read_images(path))


@lru_cache(maxsize=8)
def _build_pools(arrays: ImageArrays) -> dict[str, Pool]:
    images = list(arrays.by_class())
    return {
        split: Pool(
            tuple(
                Character(str(arrays.class_names[index]), images[index])
                for index in np.flatnonzero(arrays.class_split == number)
            )
        )
        for number, split in enumerate(SPLITS)
    }
