"""The classes of a folder of images: what is read, left out and refused."""

from __future__ import annotations

import logging
from collections import Counter
from dataclasses import dataclass, field
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from mlpeft.array_files import read_npy
from mlpeft.datasets.images import read_image
from mlpeft.datasets.split_assignment import assign_splits
from mlpeft.errors import DataError
from mlpeft.file_caches import cached_read
from mlpeft.tasks.assets import IMAGES
from mlpeft.tasks.families.class_pool import SPLITS, Character, Pool, describe_pools

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

log = logging.getLogger("mlpeft.tasks")

_ARCHIVER = "__MACOSX"
"""The folder that the Mac's archiver adds beside what it packs."""
_SPLIT_NAMES = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "dev": "val",
    "test": "test",
    "testing": "test",
}
"""What people call the splits, in lower case."""
Pixels = npt.NDArray[Any]
"""uint8, or float32 in [0, 1]."""


@dataclass(slots=True)
class Omissions:
    """What of a folder was left out, or may be a mistake.

    Attributes:
        copies: How many copies of images in their classes were left out.
        constant: Images in which all pixels are equal.
        skipped: How many files of each suffix, and folders, were not read.
    """

    copies: int = 0
    constant: list[str] = field(default_factory=list)
    skipped: Counter[str] = field(default_factory=Counter)

    @property
    def about(self) -> tuple[str, ...]:
        """A phrase for each kind that there is, for people."""
        phrases = []
        if self.copies:
            phrases.append(f"copies of images left out: {self.copies}")
        if self.constant:
            phrases.append(
                f"images of one grey value all over: {len(self.constant)}, such as "
                f"{self.constant[0]}"
            )
        if self.skipped:
            kinds = (f"{count} {kind}" for kind, count in sorted(self.skipped.items()))
            phrases.append(f"not read: {', '.join(kinds)}")
        return tuple(phrases)


@dataclass(frozen=True, slots=True, eq=False)
class FolderClasses:
    """The classes of a folder.

    Attributes:
        pools: By split; a split without classes has none.
        about: Their numbers and omissions, for people.
    """

    pools: dict[str, Pool]
    about: str


@cached_read(maxsize=4)
def read_image_folder(folder: Path, size: int) -> FolderClasses:
    """Read the classes of a folder, once per process.

    Args:
        folder: The folder.
        size: Height and width of images that are no arrays, in pixels.

    Raises:
        DataError: If it has no classes, or one of its files cannot be used.
    """
    omissions = Omissions()
    by_split = _read_splits(folder, size, omissions)
    if not by_split:
        hint = "".join(f" ({phrase})" for phrase in omissions.about)
        raise DataError(
            f"{folder} has no classes{hint}; expected a folder of images for each class"
        )
    shapes = {
        character.drawings.shape[1:]: f"{split}, {character.name}"
        for split, characters in by_split.items()
        for character in characters
    }
    _check_uniform(shapes, folder)
    pools = {split: Pool(tuple(characters)) for split, characters in by_split.items()}
    about = "; ".join((describe_pools(pools), *omissions.about))
    level = logging.WARNING if omissions.about else logging.INFO
    log.log(level, "%s: %s", folder, about)
    return FolderClasses(pools, about)


def _read_splits(
    folder: Path, size: int, omissions: Omissions
) -> dict[str, list[Character]]:
    """The classes by split; a split without classes is omitted."""
    if not _has_splits(folder):
        return _assign_characters(_read_characters(folder, size, omissions))
    every_split = {
        split: _read_characters(folder / split, size, omissions) for split in SPLITS
    }
    for first, second in combinations(SPLITS, 2):
        names = ({one.name for one in every_split[split]} for split in (first, second))
        shared = sorted(set.intersection(*names))
        if shared:
            raise DataError(
                f"{folder}: the class {shared[0]!r} is in {first} and in {second}; a "
                "class may be in only one of them, since tests are of new classes"
            )
    return {split: chars for split, chars in every_split.items() if chars}


def _has_splits(folder: Path) -> bool:
    """Whether the folders at the top are splits.

    Raises:
        DataError: If they are meant to be, but have other names.
    """
    names = {path.name for path in _visible(folder) if path.is_dir()}
    if names and names <= set(SPLITS):
        return True
    meant = {
        name: _SPLIT_NAMES[name.lower()]
        for name in sorted(names)
        if name.lower() in _SPLIT_NAMES
    }
    # A class may be called `train`, but hardly two of them `train` and `test`.
    if not meant or (len(set(meant.values())) == 1 and len(meant) < len(names)):
        return False
    for name, split in meant.items():
        if name != split:
            raise DataError(
                f"{folder} has a folder {name!r}; did you mean {split!r}? Splits are "
                "folders named train, val and test"
            )
    others = ", ".join(sorted(names - set(meant)))
    raise DataError(
        f"{folder} has splits ({', '.join(meant)}) and other folders ({others}); move "
        "the others into a split, or elsewhere"
    )


def _assign_characters(characters: list[Character]) -> dict[str, list[Character]]:
    """The classes by split; a split without classes is omitted."""
    characters = sorted(characters, key=lambda character: character.name)
    names_of = assign_splits({character.name for character in characters})
    return {
        split: [character for character in characters if character.name in names]
        for split, names in names_of.items()
    }


def _visible(folder: Path) -> list[Path]:
    """What is in a folder, sorted, without hidden files and an archiver's."""
    return sorted(
        path
        for path in folder.iterdir()
        if not path.name.startswith(".") and path.name != _ARCHIVER
    )


def _read_characters(folder: Path, size: int, omissions: Omissions) -> list[Character]:
    """The classes in a folder, sorted by name."""
    if not folder.is_dir():
        return []
    characters = []
    for path in _visible(folder):
        if path.is_dir():
            files, name = _visible(path), path.name
        elif path.suffix.lower() == ".npy":
            files, name = [path], path.stem
        else:
            omissions.skipped[f"{path.suffix or path.name} beside the classes"] += 1
            continue
        blocks = [
            block for file in files for block in _read_images(file, size, omissions)
        ]
        if blocks:
            kinds = {(str(block.dtype), *block.shape[1:]): "" for block in blocks}
            _check_uniform(kinds, path)
            images = _drop_copies(np.concatenate(blocks), omissions)
            characters.append(Character(name, images, rotations=(0, 1, 2, 3)))
    return characters


def _drop_copies(images: Pixels, omissions: Omissions) -> Pixels:
    """The images (count, height, width) that differ from all before them."""
    first = {
        image.tobytes(): number for number, image in reversed([*enumerate(images)])
    }
    omissions.copies += len(images) - len(first)
    return images[sorted(first.values())]


def _check_uniform(examples: Mapping[tuple[Any, ...], str], path: Path) -> None:
    """There must be one kind of image; each kind has an example."""
    if len(examples) > 1:
        kinds = "; ".join(f"{kind} {name}".rstrip() for kind, name in examples.items())
        raise DataError(f"{path} has images of several kinds: {kinds}; make them alike")


def _read_images(file: Path, size: int, omissions: Omissions) -> list[Pixels]:
    """The images of a file as a list of (count, height, width); empty if none."""
    suffix = file.suffix.lower()
    if file.is_dir():
        omissions.skipped["folders inside classes"] += 1
        return []
    if suffix not in (".npy", *IMAGES):
        omissions.skipped[suffix or file.name] += 1
        return []
    block = _read_array(file) if suffix == ".npy" else read_image(file, size)[None]
    constant = (block == block[:, :1, :1]).all((1, 2)).nonzero()[0]
    place = f"{file.parent.name}/{file.name}"
    omissions.constant += [
        f"{place}[{number}]" if len(block) > 1 else place for number in constant
    ]
    return [block]


def _read_array(file: Path) -> Pixels:
    try:
        return _check_block(read_npy(file), file)
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
