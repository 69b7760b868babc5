"""Parameter trees in .npz files, as `ReptileLearner.save` writes them."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mlpeft.errors import CheckpointError

if TYPE_CHECKING:
    from mlpeft.params import ParamTree


def write_npz(path: str | Path, tree: ParamTree) -> None:
    """Write a tree of NumPy leaves, whole or not at all; folders are made."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    with partial.open("wb") as file:
        np.savez(file, **tree)
    partial.replace(path)


def read_npz(path: str | Path) -> ParamTree:
    """Read a tree; nothing in the file is unpickled.

    Raises:
        FileNotFoundError: Naming the absolute path that was looked at.
        CheckpointError: If it is not such a file.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no checkpoint at {path.absolute()}")
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except (OSError, ValueError, EOFError, AttributeError, zipfile.BadZipFile) as error:
        raise CheckpointError(
            f"{path} is not an .npz checkpoint, or is damaged; give a file that "
            "ReptileLearner.save wrote"
        ) from error
