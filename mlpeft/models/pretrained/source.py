"""Locate a pretrained model: in a folder, a package, on the hub, or a GGUF file."""

from __future__ import annotations

import hashlib
import importlib.util
import re
from functools import lru_cache
from pathlib import Path

from mlpeft.errors import DataError
from mlpeft.files import file_sha256, override_of
from mlpeft.platform.home import expanded

FILES = ("*.json", "*.safetensors")
"""No Python files, and no weights in formats that contain pickles."""
_NAME = re.compile(
    r"(?P<repository>[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*)(?:@(?P<revision>[\w./-]+))?"
)


def is_hub_name(name: str) -> bool:
    """Whether a name has the form OWNER/NAME or OWNER/NAME@REVISION."""
    return _NAME.fullmatch(name) is not None


@lru_cache(maxsize=32)
def hub_folder(name: str, *, download: bool = True) -> Path:
    """The folder of a model on the hub; downloaded if it is not there yet.

    Args:
        name: OWNER/NAME, or OWNER/NAME@REVISION for a branch, tag or commit.
        download: Whether to use the network; False: only an earlier download.

    Raises:
        DataError: If there is no such model, no network or no package.
    """
    match = _NAME.fullmatch(name)
    if match is None:
        raise DataError(f"{name!r} is not OWNER/NAME or OWNER/NAME@REVISION on the hub")
    try:
        from huggingface_hub import snapshot_download
    except ImportError as error:
        raise DataError(
            f"the model {name!r} on the Hugging Face hub needs the package "
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
            f"there is no folder {str(Path(name).absolute())!r}, and the model "
            f"{name!r} could not be downloaded from the Hugging Face hub "
            f"({type(error).__name__}: {reason}); check the name and the network, or "
            "give the folder of a local copy"
        ) from error
    return Path(folder)


PACKAGE = "package:"
GGUF = ".gguf"


def model_path(source: str, *, download: bool = True) -> Path:
    """The folder, or the GGUF file, of a pretrained model.

    An asset override (`mlpeft.files`) takes precedence.

    Args:
        source: A folder, a GGUF file, `package:NAME/FOLDER`, or OWNER/NAME on the hub.
        download: Whether to use the network; False: only what is on this machine.

    Raises:
        DataError: If there is no such model.
    """
    override = override_of(source)
    if override is not None:
        return override
    if source.startswith(PACKAGE):
        return _path_in_package(source)
    path = expanded(source)
    if path.is_dir() or (path.suffix == GGUF and path.is_file()):
        return path
    if path.suffix != GGUF and is_hub_name(source):
        return hub_folder(source, download=download)
    raise DataError(
        f"no pretrained model at {path.absolute()}; give a folder with its "
        "config.json, model.safetensors and tokenizer.json, a GGUF file, or "
        "OWNER/NAME on the Hugging Face hub"
    )


def model_folder(source: str) -> Path:
    """The folder of a pretrained model.

    Args:
        source: As for `model_path`, but no GGUF file.

    Raises:
        DataError: If there is no such folder.
    """
    path = model_path(source)
    if not path.is_dir():
        raise DataError(
            f"{path} is a file; this model needs a folder with config.json, "
            "model.safetensors and tokenizer.json"
        )
    return path


def model_file(source: str, name: str) -> Path:
    """One file of a pretrained model.

    Args:
        source: As for `model_folder`.
        name: The file's name.

    Raises:
        DataError: If the model or the file is missing.
    """
    file = model_folder(source) / name
    if not file.is_file():
        raise DataError(
            f"{file.parent} has no {name}; a pretrained model's folder has "
            "config.json, model.safetensors and tokenizer.json, as on the Hugging "
            "Face hub"
        )
    return file


def weight_files(source: str) -> list[Path]:
    """The files of a pretrained model's weights, sorted by name.

    Raises:
        DataError: If there are none.
    """
    path = model_path(source)
    files = [path] if path.is_file() else sorted(path.glob("model*.safetensors"))
    if not files:
        raise DataError(
            f"{path} has no model.safetensors; convert its weights to safetensors"
        )
    return files


def weights_digest(source: str) -> str:
    """SHA-256 of the pretrained weights, or of the digests of several files.

    Raises:
        DataError: If there are none.
    """
    digests = [file_sha256(file) for file in weight_files(source)]
    if len(digests) == 1:
        return digests[0]
    return hashlib.sha256("".join(digests).encode()).hexdigest()


def _path_in_package(source: str) -> Path:
    name, _, folder = source.removeprefix(PACKAGE).partition("/")
    # Names without dots only: find_spec would import the parents of a dotted name.
    spec = importlib.util.find_spec(name) if name.isidentifier() else None
    if spec is None or spec.origin is None:
        raise DataError(
            f"{source}: the package {name!r} is not installed; install it, or give the "
            "model's folder"
        )
    path = Path(spec.origin).parent / folder
    if not (path.is_dir() or (path.suffix == GGUF and path.is_file())):
        raise DataError(f"{source}: {name} is installed, but has no folder {folder!r}")
    return path
