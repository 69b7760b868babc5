"""tieredImageNet: 608 classes of ImageNet, 84 x 84, splits by higher category.

For each split the images, `train_images_png.pkl` (a list of PNG files) or
`train_images.npz` (`images`, (N, 84, 84, 3)), and `train_labels.pkl`, a dict of
`labels` or `label_specific`, (N,).
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from mlpeft.array_files import read_npz
from mlpeft.datasets.image_sets.image_file import SPLITS, ImageClass
from mlpeft.datasets.image_sets.pictures import decode_picture
from mlpeft.datasets.image_sets.plain_pickle import read_plain_pickle
from mlpeft.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    import numpy.typing as npt

SIDE: Final = 84
EXPECTED: Final = (
    "expected train_images_png.pkl or train_images.npz, and train_labels.pkl, and the "
    "same for val and test"
)
_NAMES_KEY: Final = "label_specific_str"


def tiered_imagenet_classes(paths: Sequence[Path]) -> list[ImageClass]:
    """The classes of the given files.

    Raises:
        DataError: If files are missing, or are not as expected.
    """
    by_name = {path.name: path for path in paths}
    classes: list[ImageClass] = []
    for split in SPLITS:
        labels = by_name.get(f"{split}_labels.pkl")
        images = by_name.get(f"{split}_images_png.pkl") or by_name.get(
            f"{split}_images.npz"
        )
        if labels is None or images is None:
            raise DataError(f"{EXPECTED}; got {', '.join(by_name)}")
        classes += _of_split(split, images, labels)
    return classes


def _of_split(split: str, images: Path, labels: Path) -> Iterator[ImageClass]:
    pictures = _read_pictures(images)
    of_image, names = _read_labels(labels)
    if len(of_image) != len(pictures):
        raise DataError(
            f"{labels} has {len(of_image)} labels, but {images} {len(pictures)} images"
        )
    order = np.argsort(of_image, kind="stable")
    values, starts = np.unique(of_image[order], return_index=True)
    for value, members in zip(values, np.split(order, starts[1:]), strict=True):
        # Names are not unique over splits in every copy, but numbers with splits are.
        name = names[value] if names is not None else f"{split} {value}"
        load = partial(_load, pictures, members, str(images))
        yield ImageClass(name, split, len(members), load)


def _read_pictures(path: Path) -> Any:
    """A list of encoded pictures, or an array of images."""
    if path.suffix == ".npz":
        try:
            return read_npz(path, ["images"])["images"]
        except ValueError as error:
            raise DataError(f"{path} cannot be read: {error}") from error
    pictures = read_plain_pickle(path)
    if not isinstance(pictures, list | np.ndarray):
        raise DataError(f"{path} holds a {type(pictures).__name__}; {EXPECTED}")
    return pictures


def _read_labels(path: Path) -> tuple[npt.NDArray[np.integer], list[str] | None]:
    """The class of each image, and the names of the classes where the file has them."""
    content = read_plain_pickle(path)
    found: Any = None
    names = None
    if isinstance(content, dict):
        key = "label_specific" if "label_specific" in content else "labels"
        found = content.get(key)
        listed = content.get(_NAMES_KEY)
        names = None if listed is None else [str(name) for name in listed]
    labels = np.asarray([] if found is None else found)
    if labels.ndim != 1 or not len(labels) or labels.dtype.kind not in "iu":
        raise DataError(f"{path} has no list labels or label_specific; {EXPECTED}")
    if labels.min() < 0 or (names is not None and labels.max() >= len(names)):
        raise DataError(f"{path}: labels from {labels.min()} to {labels.max()}")
    return labels, names


def _load(
    pictures: Any, members: npt.NDArray[np.integer], source: str
) -> npt.NDArray[np.uint8]:
    if isinstance(pictures, np.ndarray) and pictures.ndim == 4:
        return np.asarray(pictures[members])
    return np.stack(
        [
            decode_picture(
                np.asarray(pictures[index], np.uint8).tobytes(),
                SIDE,
                f"{source}, image {index}",
            )
            for index in members
        ]
    )
