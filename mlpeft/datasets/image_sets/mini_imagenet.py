"""mini-ImageNet: 100 classes of 600 photos, 84 x 84, from either of its usual forms.

`mini-imagenet-cache-train.pkl`, `...-val.pkl` and `...-test.pkl` are pickles of a dict
of `image_data` (N, 84, 84, 3) and `class_dict`, the indices of each class.

Ravi and Larochelle's `train.csv`, `val.csv` and `test.csv` have the columns `filename`
and `label`; the images are in a folder or a zip, at whatever depth.
"""

from __future__ import annotations

import csv
import re
import zipfile
from collections import defaultdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from mlpeft.datasets.image_sets.image_file import SPLITS, ImageClass
from mlpeft.datasets.image_sets.pictures import (
    MOST_BYTES,
    decode_picture,
    read_entry,
)
from mlpeft.datasets.image_sets.plain_pickle import read_plain_pickle
from mlpeft.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import numpy.typing as npt

SIDE: Final = 84
EXPECTED: Final = (
    "expected mini-imagenet-cache-train.pkl, -val.pkl and -test.pkl; or train.csv, "
    "val.csv and test.csv with the folder or zip of the images"
)
_CACHE: Final = re.compile(r"mini-imagenet-cache-(train|val|test)\.(pkl|pickle)")


def mini_imagenet_classes(paths: Sequence[Path]) -> list[ImageClass]:
    """The classes of the given files.

    Raises:
        DataError: If they are neither of the two forms.
    """
    caches = {
        match[1]: path for path in paths if (match := _CACHE.fullmatch(path.name))
    }
    if caches:
        return [
            image_class
            for split, path in caches.items()
            for image_class in _of_cache(path, split)
        ]
    lists = {path.stem: path for path in paths if path.suffix == ".csv"}
    rest = [path for path in paths if path.suffix != ".csv"]
    if set(lists) != set(SPLITS) or len(rest) != 1:
        raise DataError(f"{EXPECTED}; got {', '.join(path.name for path in paths)}")
    read = _reader(rest[0])
    return [
        image_class
        for split, path in lists.items()
        for image_class in _of_list(path, split, read)
    ]


def _of_cache(path: Path, split: str) -> Iterator[ImageClass]:
    cache = read_plain_pickle(path)
    images = cache.get("image_data") if isinstance(cache, dict) else None
    classes = cache.get("class_dict") if isinstance(cache, dict) else None
    if not isinstance(images, np.ndarray) or not isinstance(classes, dict):
        raise DataError(f"{path} has no arrays image_data and class_dict; {EXPECTED}")
    for name, members in classes.items():
        indices = checked_indices(members, len(images), f"{path}, class {name}")
        load = partial(_take, images, indices)
        yield ImageClass(str(name), split, len(indices), load)


def checked_indices(members: Any, count: int, where: str) -> npt.NDArray[np.integer]:
    """Indices of images that exist.

    Raises:
        DataError: If one does not.
    """
    indices = np.asarray(members)
    in_range = indices.dtype.kind in "iu" and indices.ndim == 1 and len(indices)
    if not in_range or indices.min() < 0 or indices.max() >= count:
        raise DataError(f"{where}: expected indices of its {count} images")
    return indices


def _take(
    images: npt.NDArray[Any], indices: npt.NDArray[np.integer]
) -> npt.NDArray[Any]:
    return np.asarray(images[indices])


def _of_list(
    path: Path, split: str, read: Callable[[str], bytes]
) -> Iterator[ImageClass]:
    files: dict[str, list[str]] = defaultdict(list)
    with path.open(encoding="utf-8", newline="") as lines:
        for row in csv.DictReader(lines):
            if not row.get("filename") or not row.get("label"):
                raise DataError(f"{path}: expected the columns filename and label")
            files[row["label"]].append(row["filename"])
    for label, names in files.items():
        load = partial(_decode_all, read, tuple(names))
        yield ImageClass(label, split, len(names), load)


def _decode_all(
    read: Callable[[str], bytes], names: Sequence[str]
) -> npt.NDArray[np.uint8]:
    return np.stack([decode_picture(read(name), SIDE, name) for name in names])


def _reader(source: Path) -> Callable[[str], bytes]:
    """A function from a file's name to its bytes, from a folder or a zip."""
    if source.is_dir():
        files = {path.name: path for path in source.rglob("*") if path.is_file()}

        def of_folder(name: str) -> bytes:
            path = files.get(Path(name).name)
            if path is None:
                raise DataError(f"no {name} in {source}")
            if path.stat().st_size > MOST_BYTES:
                raise DataError(f"{path} is too large for a photo")
            return path.read_bytes()

        return of_folder
    try:
        archive = zipfile.ZipFile(source)
    except zipfile.BadZipFile as error:
        raise DataError(f"{source} is no zip file or folder; {EXPECTED}") from error
    entries = {Path(info.filename).name: info for info in archive.infolist()}

    def of_zip(name: str) -> bytes:
        info = entries.get(Path(name).name)
        if info is None:
            raise DataError(f"no {name} in {source}")
        return read_entry(archive, info)

    return of_zip
