"""Your own images: a folder with a subfolder for each class.

    photos/cat/1.png  photos/cat/2.jpg  photos/dog/a.png  ...
    TaskConfig("a", "folder", 5, 784, task_params={"path": "photos"})

A class folder contains images, which become `size` x `size` grey values (default 28),
or .npy files of one image (height, width) or many (count, height, width), uint8 or
floats in [0, 1], all of one size. A file CLASS.npy of many images is a class as well.
Copies of an image in its class are left out; what is not read is counted.

Folders named train, val and test at the top contain the classes of these splits.
Without them the classes are assigned 3 : 1 : 1 to train, val and test, in the order of
the SHA-256 of their names: the same on every machine.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mlpeft.errors import ConfigError, DataError
from mlpeft.tasks.assets import Asset, AssetKind, images_folder
from mlpeft.tasks.families.class_pool import SPLITS, ClassPoolFamily, Pool
from mlpeft.tasks.families.folder_classes import FolderClasses, read_image_folder

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mlpeft.tasks.check import Problems

SIZE = 28


class Folder(ClassPoolFamily):
    """`folder`; images (size, size, 1); task_params: path, size, split, ..."""

    def __init__(self) -> None:
        super().__init__("folder", FolderSource())


class FolderSource:
    """The classes of a folder, read once per process."""

    params: tuple[str, ...] = ("path", "size")

    def pool(self, split: str, task_params: Mapping[str, Any]) -> Pool:
        """The classes of a split."""
        pools = read_folder(task_params).pools
        if split not in pools:
            counts = {name: len(pool.characters) for name, pool in pools.items()}
            raise DataError(
                f"{_folder(task_params)} has no classes for {split}, only {counts}; "
                "add classes, or sort them into folders train, val and test"
            )
        return pools[split]

    def digests(self, task_params: Mapping[str, Any]) -> dict[str, str]:
        """SHA-256 of names and pixels of all classes."""
        pools = read_folder(task_params).pools
        sha256 = hashlib.sha256()
        for split in SPLITS:
            for character in pools[split].characters if split in pools else ():
                sha256.update(f"{split}\0{character.name}\0".encode())
                sha256.update(f"{character.drawings.shape}\0".encode())
                sha256.update(np.ascontiguousarray(character.drawings).data)
        return {Path(str(task_params["path"])).name: sha256.hexdigest()}

    def check(self, problems: Problems) -> None:
        """There must be a path, and size must be a number of pixels."""
        problems.check_string("path")
        problems.check_integer("size", low=1)


def folder_assets(task_params: Mapping[str, Any]) -> tuple[Asset, ...]:
    """The folder of these task_params."""
    path = task_params.get("path")
    return () if path is None else (Asset(str(path), AssetKind.IMAGES),)


def describe_folder(task_params: Mapping[str, Any], _: str | Path | None) -> str:
    """What the folder of these task_params has, and what was left out."""
    return read_folder(task_params).about


def _folder(task_params: Mapping[str, Any]) -> Path:
    if "path" not in task_params:
        raise ConfigError(
            "task_distribution.task_params.path: the family folder needs the folder "
            "that contains your class folders"
        )
    return images_folder(str(task_params["path"]))


def read_folder(task_params: Mapping[str, Any]) -> FolderClasses:
    """Read the folder of these task_params, once per process.

    Raises:
        ConfigError: If they name none.
        DataError: If there is none, or it cannot be used.
    """
    return read_image_folder(_folder(task_params), int(task_params.get("size", SIZE)))
