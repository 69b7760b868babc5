"""CIFAR-FS: the 100 classes of CIFAR-100, 32 x 32, in Bertinetto's splits.

`cifar100.zip` has `data/CLASS/*.png` and `splits/bertinetto/{train,val,test}.txt`, one
class a line; other splits in it are left alone.
"""

from __future__ import annotations

import re
import zipfile
from collections import defaultdict
from functools import partial
from typing import TYPE_CHECKING, Final

import numpy as np

from mlpeft.datasets.image_sets.image_file import SPLITS, ImageClass
from mlpeft.datasets.image_sets.pictures import decode_picture, read_entry
from mlpeft.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import numpy.typing as npt

SIDE: Final = 32
EXPECTED: Final = (
    "expected cifar100.zip, with data/CLASS/*.png and "
    "splits/bertinetto/{train,val,test}.txt"
)
_PICTURE: Final = re.compile(r"(?:.*/)?data/(?P<label>[^/]+)/[^/]+\.png")
_SPLIT: Final = re.compile(r"(?:.*/)?splits/(?:bertinetto/)?(train|val|test)\.txt")
_MOST_TEXT: Final = 100_000


def cifar_fs_classes(paths: Sequence[Path]) -> list[ImageClass]:
    """The classes of the zip.

    Raises:
        DataError: If it is none, or lacks images or splits.
    """
    if len(paths) != 1:
        raise DataError(f"{EXPECTED}; got {len(paths)} files")
    try:
        archive = zipfile.ZipFile(paths[0])
    except zipfile.BadZipFile as error:
        raise DataError(f"{paths[0]} is no zip file; {EXPECTED}") from error
    pictures: dict[str, list[zipfile.ZipInfo]] = defaultdict(list)
    splits: dict[str, zipfile.ZipInfo] = {}
    for info in archive.infolist():
        if match := _PICTURE.fullmatch(info.filename):
            pictures[match["label"]].append(info)
        elif match := _SPLIT.fullmatch(info.filename):
            splits[match[1]] = info
    if set(splits) != set(SPLITS):
        raise DataError(f"{paths[0]} has no splits; {EXPECTED}")
    classes = []
    for split, info in splits.items():
        for label in _read_labels(archive, info):
            if label not in pictures:
                raise DataError(f"{paths[0]} has no images of {label!r} ({split})")
            entries = sorted(pictures[label], key=lambda entry: entry.filename)
            load = partial(_load, archive, entries)
            classes.append(ImageClass(label, split, len(entries), load))
    return classes


def _read_labels(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> list[str]:
    if info.file_size > _MOST_TEXT:
        raise DataError(f"{archive.filename}: {info.filename} is no list of classes")
    return read_entry(archive, info).decode("utf-8", "replace").split()


def _load(
    archive: zipfile.ZipFile, entries: Sequence[zipfile.ZipInfo]
) -> npt.NDArray[np.uint8]:
    return np.stack(
        [
            decode_picture(read_entry(archive, info), SIDE, info.filename)
            for info in entries
        ]
    )
