"""Your own images: a folder with a subfolder for each class.

    photos/cat/1.png  photos/cat/2.jpg  photos/dog/a.png  ...
    TaskConfig("a", "folder", 5, 784, task_params={"path": "photos"})

A class folder contains images, which become `size` x `size` grey values (default 28),
or .npy files of one image (height, width) or many (count, height, width), uint8 or
floats in [0, 1], all of one size. A file CLASS.npy of many images is a class as well.

Folders named train, val and test at the top contain the classes of these splits.
Without them the classes are assigned 3 : 1 : 1 to train, val and test, in the order of
the SHA-256 of their names: the same on every machine.
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
    """The classes of a folder, read once per process."""

    params: tuple[str, ...] = ("path", "size")

    def pool(self, split: str, task_params: Mapping[str, Any]) -> Pool:
        """The classes of a split."""
        pools = _load(_folder(task_params), int(task_params.get("size", SIZE)))
        if split not in pools:
            counts = {name: len(pool.characters) for name, pool in pools.items()}
            raise DataError(
                f"{_folder(task_params)} has no classes for {split}, only {counts}; "
                "add classes, or sort them into folders train, val and test"
            )
        return pools[split]

    def digests(self, task_params: Mapping[str, Any]) -> dict[str, str]:
        """SHA-256 of names and pixels of all classes."""
        folder = _folder(task_params)
        pools = _load(folder, int(task_params.get("size", SIZE)))
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


def _folder(task_params: Mapping[str, Any]) -> Path:
    if "path" not in task_params:
        raise ConfigError(
            "task_distribution.task_params.path: the family folder needs the folder "
            "that contains your class folders"
        )
    return images_folder(str(task_params["path"]))


@lru_cache(maxsize=4)
def _load(folder: Path, size: int) -> dict[str, Pool]:
    """The pools that have classes.

    Raises:
        DataError: If a file cannot be read.
    """
    paths = [path for path in folder.iterdir() if not path.name.startswith(".")]
    names = {path.name for path in paths if path.is_dir()}
    if names and names <= set(SPLITS):
        every_split = {name: _read_characters(folder / name, size) for name in SPLITS}
        by_split = {split: chars for split, chars in every_split.items() if chars}
    else:
        by_split = _assign_characters(_read_characters(folder, size))
    if not by_split:
        raise DataError(
            f"{folder} has no classes; expected a folder of images for each class"
        )
    shapes = {
        character.drawings.shape[1:]: f"{split}, {character.name}"
        for split, characters in by_split.items()
        for character in characters
    }
    _check_uniform(shapes, folder)
    return {split: Pool(tuple(characters)) for split, characters in by_split.items()}


def _assign_characters(characters: list[Character]) -> dict[str, list[Character]]:
    """The classes by split; a split without classes is omitted."""
    characters = sorted(characters, key=lambda character: character.name)
    names_of = assign_splits({character.name for character in characters})
    return {
        split: [character for character in characters if character.name in names]
        for split, names in names_of.items()
    }


def _read_characters(folder: Path, size: int) -> list[Character]:
    """The classes in a folder, sorted by name."""
    if not folder.is_dir():
        return []
    characters = []
    for path in sorted(folder.iterdir()):
        if path.name.startswith("."):
            continue
        if path.is_dir():
            files = sorted(path.iterdir())
            blocks = [block for file in files for block in _read_images(file, size)]
            name = path.name
        else:
            blocks = _read_images(path, size) if path.suffix.lower() == ".npy" else []
            name = path.stem
        if blocks:
            kinds = {(str(block.dtype), *block.shape[1:]): "" for block in blocks}
            _check_uniform(kinds, path)
            images = np.concatenate(blocks)
            characters.append(Character(name, images, rotations=(0, 1, 2, 3)))
    return characters


def _check_uniform(examples: Mapping[tuple[Any, ...], str], path: Path) -> None:
    """There must be one kind of image; each kind has an example."""
    if len(examples) > 1:
        kinds = "; ".join(f"{kind} {name}".rstrip() for kind, name in examples.items())
        raise DataError(f"{path} has images of several kinds: {kinds}; make them alike")


def _read_images(file: Path, size: int) -> list[Pixels]:
    """The images of a file as a list of (count, height, width); empty if none."""
    suffix = file.suffix.lower()
    if file.name.startswith(".") or suffix not in (".npy", *IMAGES):
        return []
    try:
        if suffix == ".npy":
            return [_check_block(np.load(file), file)]
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


def _check_block(array: Pixels, file: Path) -> Pixels:
    """Check an array of one image or many; return (count, height, width)."""
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
