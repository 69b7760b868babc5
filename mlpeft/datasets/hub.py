"""Pretrained models by their name on the Hugging Face hub (extras: text, lm).

What was downloaded once is kept in the hub's own cache and works without a network from
then on. Only data is downloaded: configuration, weights as safetensors, tokenizer.
"""

from __future__ import annotations

import re
from functools import lru_cache
from pathlib import Path

from mlpeft.errors import DataError

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
