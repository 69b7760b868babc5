"""Where a pretrained model lies: a folder, or inside an installed package."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from mlpeft.errors import DataError

PACKAGE = "package:"


def model_folder(where: str) -> Path:
    """The folder of a pretrained model.

    Args:
        where: A folder, or `package:NAME/FOLDER` for one that an installed package
            brings. The package is looked up, never imported.

    Raises:
        DataError: If there is no such folder.
    """
    if not where.startswith(PACKAGE):
        folder = Path(where).expanduser()
        if not folder.is_dir():
            raise DataError(
                f"no pretrained model at {folder.absolute()}; give the folder that "
                "has its config.json, model.safetensors and tokenizer.json"
            )
        return folder
    name, _, inside = where.removeprefix(PACKAGE).partition("/")
    # A name without dots: find_spec imports the parents of one with dots.
    spec = importlib.util.find_spec(name) if name.isidentifier() else None
    if spec is None or spec.origin is None:
        raise DataError(
            f"{where}: the package {name!r} is not installed; install it, or give the "
            "model's folder"
        )
    folder = Path(spec.origin).parent / inside
    if not folder.is_dir():
        raise DataError(f"{where}: {name} is installed, but has no folder {inside!r}")
    return folder


def model_file(where: str, name: str) -> Path:
    """One file of a pretrained model.

    Args:
        where: As for `model_folder`.
        name: The file's name.

    Raises:
        DataError: If the model or the file is missing.
    """
    file = model_folder(where) / name
    if not file.is_file():
        raise DataError(
            f"{file.parent} has no {name}; a pretrained model's folder has "
            "config.json, model.safetensors and tokenizer.json, as the Hugging Face "
            "hub lays it out"
        )
    return file
