"""Where a pretrained model lies: in a folder, a package, on the hub, in a GGUF file."""

from __future__ import annotations

import hashlib
import importlib.util
import re
from functools import lru_cache
from pathlib import Path

from mlpeft.errors import DataError
from mlpeft.files import file_sha256, override_of

FILES = ("*.json", "*.safetensors")
"""No Python files, and no weights in formats that hold pickles."""
_NAME = re.compile(
    r"(?P<repository>[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*)(?:@(?P<revision>[\w./-]+))?"
)


def is_hub_name(where: str) -> bool:
    """Whether a text has the form OWNER/NAME or OWNER/NAME@REVISION."""
    return _NAME.fullmatch(where) is not None


@lru_cache(maxsize=32)
def hub_folder(name: str, *, download: bool = True) -> Path:
    """The folder that holds a model of the hub; downloaded if it is not there yet.

    Args:
        name: OWNER/NAME, or OWNER/NAME@REVISION for a branch, tag or commit.
        download: False: ask nobody; only what was downloaded before will do.

    Raises:
        DataError: If it cannot be had: no such model, no network, no package.
    """
    match = _NAME.fullmatch(name)
    if match is None:
        raise DataError(f"{name!r} is not OWNER/NAME or OWNER/NAME@REVISION of the hub")
    try:
        from huggingface_hub import snapshot_download
    except ImportError as error:
        raise DataError(
            f"the model {name!r} of the Hugging Face hub needs the package "
            "huggingface_hub; install it with: pip install 'mlpeft[text]'"
        ) from error
    try:
        folder = snapshot_download(
            match["repository"],
            revision=match["revision"],
            allow_patterns=list(FILES),
            local_files_only=not download,
        )
    except Exception as error:  # network, disk, refusal: each has its own exceptions
        reason = str(error).strip().partition("\n")[0]
        raise DataError(
            f"there is no folder {str(Path(name).absolute())!r}, and the Hugging Face "
            f"hub did not give the model {name!r} ({type(error).__name__}: {reason}); "
            "check the name and the network, or give the folder of a copy of your own"
        ) from error
    return Path(folder)


PACKAGE = "package:"
GGUF = ".gguf"


def model_path(where: str, *, download: bool = True) -> Path:
    """The folder, or the GGUF file, of a pretrained model.

    One that was provided (`mlpeft.files`) comes before all others.

    Args:
        where: See above.
        download: Whether it may come from the hub; False: only what is on this machine.

    Raises:
        DataError: If there is nothing there.
    """
    given = override_of(where)
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
