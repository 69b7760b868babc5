"""Classes of your own: a folder with a folder for each class.

    photos/cat/1.png  photos/cat/2.jpg  photos/dog/a.png  ...
    TaskConfig("a", "folder", 5, 784, task_params={"path": "photos"})

A class folder holds images, which become `size` x `size` grey values (28 unless said),
or .npy files of one image (height, width) or many (count, height, width), uint8 or
floats in [0, 1], all of one size. A file CLASS.npy of many images is a class as well.

Folders named train, val and test at the top hold the classes of these splits. Without
them the classes, in the order of the SHA-256 of their names, are cut 3 : 1 : 1 into
train, val and test: the same on every machine.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from mlpeft.datasets.split_assignment import assign_splits
from mlpeft.errors import ConfigError, DataError
from mlpeft.tasks.assets import IMAGES, Asset, AssetKind, images_folder
from mlpeft.tasks.families.class_pool import (
    SPLITS,
    Character,
    ClassPoolFamily,
    Pool,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mlpeft.tasks.check import Problems

SIZE = 28
Pixels = npt.NDArray[Any]
"""uint8, or float32 in [0, 1]."""


class Folder(ClassPoolFamily):
    """`folder`; images (size, size, 1); task_params: path, size, split, ..."""

    def __init__(self) -> None:
        super().__init__("folder", FolderSource())


class FolderSource:
    """The classes of a folder, read once for a process."""

    params: tuple[str, ...] = ("path", "size")

    def pool(self, split: str, task_params: Mapping[str, Any]) -> Pool:
        """The classes of a split."""
        pools = _load(_folder(task_params), int(task_params.get("size", SIZE)))
        if split not in pools:
            there = {name: len(pool.characters) for name, pool in pools.items()}
            raise DataError(
                f"{_folder(task_params)} has no classes for {split}, only {there}; add "
                "classes, or make folders train, val and test and sort them yourself"
            )
        return pools[split]

    def digests(self, task_params: Mapping[str, Any]) -> dict[str, str]:
        """SHA-256 of names and pixels of all classes."""
        folder = _folder(task_params)
        pools = _load(folder, int(task_params.get("size", SIZE)))
        seen = hashlib.sha256()
        for split in SPLITS:
            for character in pools[split].characters if split in pools else ():
                seen.update(f"{split}\0{character.name}\0".encode())
                seen.update(f"{character.drawings.shape}\0".encode())
                seen.update(np.ascontiguousarray(character.drawings).data)
        return {Path(str(task_params["path"])).name: seen.hexdigest()}

    def check(self, problems: Problems) -> None:
        """There is a path, and size is a number of pixels."""
        problems.text("path")
        problems.whole("size", low=1)


def folder_assets(task_params: Mapping[str, Any]) -> tuple[Asset, ...]:
    """The folder that a run of these task_params reads."""
    path = task_params.get("path")
    return () if path is None else (Asset(str(path), AssetKind.IMAGES),)


def _folder(task_params: Mapping[str, Any]) -> Path:
    if "path" not in task_params:
        raise ConfigError(
            "task_distribution.task_params.path: the family folder needs the folder "
            "that your class folders are in"
        )
    return images_folder(str(task_params["path"]))


@lru_cache(maxsize=4)
def _load(folder: Path, size: int) -> dict[str, Pool]:
    """The pools that have classes.

    Raises:
        DataError: If the folder holds what cannot be read.
    """
    places = [one for one in folder.iterdir() if not one.name.startswith(".")]
    names = {place.name for place in places if place.is_dir()}
    if names and names <= set(SPLITS):
        sorted_by_hand = {name: _characters(folder / name, size) for name in SPLITS}
        found = {split: some for split, some in sorted_by_hand.items() if some}
    else:
        found = _dealt(_characters(folder, size))
    if not found:
        raise DataError(
            f"{folder} has no classes; expected a folder of images for each class"
        )
    kinds = {
        character.drawings.shape[1:]: f"{split}, {character.name}"
        for split, characters in found.items()
        for character in characters
    }
    _expect_one(kinds, folder)
    return {split: Pool(tuple(characters)) for split, characters in found.items()}


def _dealt(characters: list[Character]) -> dict[str, list[Character]]:
    """The classes by split; a split without classes is left out."""
    characters = sorted(characters, key=lambda one: one.name)
    return {
        split: [one for one in characters if one.name in names]
        for split, names in assign_splits({one.name for one in characters}).items()
    }


def _characters(folder: Path, size: int) -> list[Character]:
    """The classes in a folder, by name."""
    if not folder.is_dir():
        return []
    made = []
    for place in sorted(folder.iterdir()):
        if place.name.startswith("."):
            continue
        if place.is_dir():
            files = sorted(place.iterdir())
            blocks = [read for file in files for read in _read(file, size)]
            name = place.name
        else:
            blocks = _read(place, size) if place.suffix.lower() == ".npy" else []
            name = place.stem
        if blocks:
            kinds = {(str(block.dtype), *block.shape[1:]): "" for block in blocks}
            _expect_one(kinds, place)
            made.append(Character(name, np.concatenate(blocks), turns=(0, 1, 2, 3)))
    return made


def _expect_one(kinds: Mapping[tuple[Any, ...], str], place: Path) -> None:
    if len(kinds) > 1:
        told = "; ".join(f"{kind} {where}".rstrip() for kind, where in kinds.items())
        raise DataError(f"{place} has images of several kinds: {told}; make them one")


def _read(file: Path, size: int) -> list[Pixels]:
    """The images of a file, (count, height, width), in a list; empty if it has none."""
    suffix = file.suffix.lower()
    if file.name.startswith(".") or suffix not in (".npy", *IMAGES):
        return []
    try:
        if suffix == ".npy":
            return [_checked(np.load(file), file)]
        from PIL import Image

        with Image.open(file) as image:
            grey = image.convert("L").resize((size, size), Image.Resampling.LANCZOS)
        return [np.asarray(grey)[None]]
    except ImportError as error:
        raise DataError(
            "reading images needs Pillow; run: pip install 'mlpeft[images]'"
        ) from error
    except (OSError, SyntaxError, ValueError, EOFError) as error:
        raise DataError(f"{file} cannot be read as an image: {error}") from error


def _checked(array: Pixels, file: Path) -> Pixels:
    """An array of one image or many, as (count, height, width)."""
    block = array[None] if array.ndim == 2 else array
    if block.ndim != 3 or not block.size:
        raise DataError(
            f"{file} has shape {array.shape}, expected (height, width) or "
            "(count, height, width)"
        )
    if block.dtype == np.uint8:
        return block
    if block.dtype.kind == "f" and 0.0 <= block.min() <= block.max() <= 1.0:
        return block.astype(np.float32)
    raise DataError(
        f"{file} has {block.dtype} from {block.min()} to {block.max()}, expected uint8 "
        "or floats in [0, 1]"
    )
