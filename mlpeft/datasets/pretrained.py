"""Where a pretrained model lies: a folder, an installed package, the hub, a GGUF file.

`model.weights` names it in one of four ways:

    FOLDER                 as the Hugging Face hub lays it out
    OWNER/NAME[@REVISION]  on the hub, where there is no such folder
    package:NAME/PLACE     inside an installed package, which is never imported
    FILE.gguf              a GGUF file, here or as package:NAME/FILE.gguf
"""

from __future__ import annotations

import hashlib
import importlib.util
from pathlib import Path

from mlpeft.datasets.digest import file_sha256
from mlpeft.datasets.hub import hub_folder, is_hub_name
from mlpeft.datasets.provided import provided_path
from mlpeft.errors import DataError

PACKAGE = "package:"
GGUF = ".gguf"


def model_path(where: str, *, download: bool = True) -> Path:
    """The folder, or the GGUF file, of a pretrained model.

    One that was provided (`mlpeft.datasets.provided`) comes before all others.

    Args:
        where: See above.
        download: Whether it may come from the hub; False: only what is on this machine.

    Raises:
        DataError: If there is nothing there.
    """
    given = provided_path(where)
    if given is not None:
        return given
    if where.startswith(PACKAGE):
        return _in_package(where)
    path = Path(where).expanduser()
    if path.is_dir() or (path.suffix == GGUF and path.is_file()):
        return path
    if path.suffix != GGUF and is_hub_name(where):
        return hub_folder(where, download=download)
    raise DataError(
        f"no pretrained model at {path.absolute()}; give the folder that has its "
        "config.json, model.safetensors and tokenizer.json, a GGUF file, or "
        "OWNER/NAME of the Hugging Face hub"
    )


def model_folder(where: str) -> Path:
    """The folder of a pretrained model.

    Args:
        where: As for `model_path`, but no GGUF file.

    Raises:
        DataError: If there is no such folder.
    """
    path = model_path(where)
    if not path.is_dir():
        raise DataError(
            f"{path} is a file; this model is read from a folder with config.json, "
            "model.safetensors and tokenizer.json"
        )
    return path


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


def weight_files(where: str) -> list[Path]:
    """The files that hold a pretrained model's weights, in the order of their names.

    Raises:
        DataError: If there are none.
    """
    path = model_path(where)
    files = [path] if path.is_file() else sorted(path.glob("model*.safetensors"))
    if not files:
        raise DataError(
            f"{path} has no model.safetensors; convert its weights to safetensors"
        )
    return files


def weights_digest(where: str) -> str:
    """SHA-256 of the pretrained weights, or of the digests of several files.

    Raises:
        DataError: If there are none.
    """
    digests = [file_sha256(file) for file in weight_files(where)]
    if len(digests) == 1:
        return digests[0]
    return hashlib.sha256("".join(digests).encode()).hexdigest()


def _in_package(where: str) -> Path:
    name, _, inside = where.removeprefix(PACKAGE).partition("/")
    # A name without dots: find_spec imports the parents of one with dots.
    spec = importlib.util.find_spec(name) if name.isidentifier() else None
    if spec is None or spec.origin is None:
        raise DataError(
            f"{where}: the package {name!r} is not installed; install it, or give the "
            "model's folder"
        )
    path = Path(spec.origin).parent / inside
    if not (path.is_dir() or (path.suffix == GGUF and path.is_file())):
        raise DataError(f"{where}: {name} is installed, but has no folder {inside!r}")
    return path
