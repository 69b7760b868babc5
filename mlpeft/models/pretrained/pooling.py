"""How a sentence encoder makes one vector of a sentence's tokens.

A sentence-transformers folder says so in modules.json and its pooling module's
config.json; a plain Hugging Face folder does not, and is taken to want the mean.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from mlpeft.errors import DataError

if TYPE_CHECKING:
    from pathlib import Path

Pooling: TypeAlias = Literal["mean", "cls"]
"""The mean over tokens, or the first token alone."""

_KNOWN: dict[str, Pooling] = {"mean_tokens": "mean", "cls_token": "cls"}
_PREFIX = "pooling_mode_"
_MODULES = ("Transformer", "Pooling", "Normalize")
"""Classes of modules.json that are computed here; our vectors are always normalised."""


def read_pooling(folder: Path) -> Pooling:
    """How the model of a folder pools.

    Raises:
        DataError: If it does so in a way that is not computed here, or has modules
            that are not, such as a dense layer behind the pooling.
    """
    file = folder / _pooling_folder(folder) / "config.json"
    if not file.is_file():
        return "mean"
    settings = _read(file)
    asked = [
        key.removeprefix(_PREFIX)
        for key, value in settings.items()
        if key.startswith(_PREFIX) and value is True
    ]
    if len(asked) != 1 or asked[0] not in _KNOWN:
        raise DataError(
            f"{file} asks for {', '.join(asked) or 'no pooling'}; this encoder pools "
            f"by one of {', '.join(_KNOWN)}, so take a model that does"
        )
    return _KNOWN[asked[0]]


def _pooling_folder(folder: Path) -> str:
    """Where the pooling's settings are, if every module is one that is computed."""
    file = folder / "modules.json"
    found = "1_Pooling"
    if not file.is_file():
        return found
    for module in _read(file):
        kind = str(module["type"]).rpartition(".")[2]
        if kind not in _MODULES:
            raise DataError(
                f"{file} has a module {module['type']}; this encoder has only "
                f"{', '.join(_MODULES)}, so take a model without it"
            )
        if kind == "Pooling":
            found = str(module["path"])
    return found


def _read(file: Path) -> Any:
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise DataError(f"{file} is not valid JSON: {error}") from error
