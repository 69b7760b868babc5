"""Read and check the Omniglot file.

`omniglot.npz` has, for C classes (characters) of D drawings each:

    images                  (C * D, 28, 28) uint8; 0 paper, 255 ink; image i is of class
                            i // D
    class_names             (C,) "Alphabet/characterNN"
    class_alphabet          (C,) uint8, index into alphabet_names
    class_split             (C,) uint8; 0 background, 1 evaluation
    class_omniglot_number   (C,) int16, the number in the original file names
    alphabet_names          (A,)
    drawing                 (C * D,) uint8; 1 to D, the drawer

and, for each image, class_id, alphabet_id and split; and split_names.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from mlpeft.array_files import read_npz
from mlpeft.errors import DataError

if TYPE_CHECKING:
    from pathlib import Path

FILE = "omniglot.npz"
REMEDY = (
    "get it with: mlpeft data fetch omniglot; or, without a network, from the official "
    "zips: mlpeft data import omniglot images_background.zip images_evaluation.zip"
)
_REQUIRED = ("images", "class_names", "class_alphabet", "class_split")


@dataclass(frozen=True, slots=True, eq=False)
class OmniglotArrays:
    """The arrays of the file that mlpeft uses.

    Attributes:
        images: (classes, drawings, height, width) uint8.
        class_names: (classes,).
        class_alphabet: (classes,).
        class_split: (classes,); 0 background, 1 evaluation.
    """

    images: npt.NDArray[np.uint8]
    class_names: npt.NDArray[np.str_]
    class_alphabet: npt.NDArray[np.integer]
    class_split: npt.NDArray[np.integer]

    def sha256(self) -> str:
        """SHA-256 of the contents, independent of the file's compression."""
        sha256 = hashlib.sha256(repr(self.images.shape).encode())
        sha256.update(np.ascontiguousarray(self.images).data)
        sha256.update("\0".join(map(str, self.class_names)).encode())
        for array in (self.class_alphabet, self.class_split):
            sha256.update(array.astype("<i8").tobytes())
        return sha256.hexdigest()


def read_omniglot(path: Path) -> OmniglotArrays:
    """Read the file and check that its arrays are consistent.

    Raises:
        DataError: If they are not, or it is no such file.
    """
    try:
        arrays = read_npz(path, _REQUIRED)
    except ValueError as error:
        raise DataError(
            f"{path} cannot be read as Omniglot ({error}); {REMEDY}"
        ) from error
    images, names, alphabets, splits = (arrays[name] for name in _REQUIRED)
    classes = len(names) if names.ndim == 1 else 0
    if not (
        classes
        and images.dtype == np.uint8
        and images.ndim == 3
        and len(images)
        and len(images) % classes == 0
        and alphabets.shape == splits.shape == names.shape
        and set(np.unique(splits)) <= {0, 1}
    ):
        raise DataError(
            f"{path} is damaged: expected uint8 images (classes x drawings, height, "
            "width) and a name, an alphabet and a split (0 or 1) for each class; got "
            f"images {images.dtype} {images.shape}, names {names.shape}, alphabets "
            f"{alphabets.shape}, splits {splits.shape}; {REMEDY}"
        )
    by_class = images.reshape(classes, -1, *images.shape[1:])
    return OmniglotArrays(by_class, names, alphabets, splits)
