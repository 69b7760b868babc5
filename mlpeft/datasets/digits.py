"""scikit-learn's bundled digits: 1,797 handwritten digits of 8 x 8 pixels."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import numpy.typing as npt

from mlpeft.errors import DataError
from mlpeft.files import override_of

NAME = "digits"
TABLE = "sklearn/datasets/data/digits.csv.gz"
"""Their path in scikit-learn, relative to the installed packages."""
FULL = 16
"""The value of full ink."""
SHA256 = "87ff0c9e40dc7e2c0e34e7257799c2e3f3aec1a016363bb11cad869ec428a826"
"""Of the images and the labels that `read_digits` returns."""
REMEDY = "run: pip install 'mlpeft[digits]' (scikit-learn has the images)"

Pixels = npt.NDArray[np.uint8]


def read_digits() -> tuple[Pixels, Pixels]:
    """Read images (1797, 8, 8), 0 paper to 16 ink, and their digits (1797,).

    Raises:
        DataError: If there is neither an asset override nor scikit-learn.
    """
    return _read(_find_table())


def _find_table() -> Path | None:
    """The file of the digits; None if scikit-learn has another layout."""
    override = override_of(TABLE)
    if override is not None:
        return override
    spec = find_spec("sklearn")
    if spec is None or not spec.submodule_search_locations:
        raise DataError(f"the digits are not installed; {REMEDY}")
    table = Path(spec.submodule_search_locations[0]).parent / TABLE
    return table if table.is_file() else None


@lru_cache(maxsize=2)
def _read(table: Path | None) -> tuple[Pixels, Pixels]:
    if table is None:
        from sklearn.datasets import load_digits

        bundle = load_digits()
        return bundle.images.astype(np.uint8), bundle.target.astype(np.uint8)
    # Do not import scikit-learn: that takes a second, and loads another BLAS into a
    # process that computes with MLX.
    rows = np.loadtxt(table, np.uint8, delimiter=",")
    return rows[:, :-1].reshape(-1, 8, 8), rows[:, -1]


def digits_sha256() -> str:
    """SHA-256 of images and labels."""
    images, labels = read_digits()
    return hashlib.sha256(images.tobytes() + labels.tobytes()).hexdigest()
