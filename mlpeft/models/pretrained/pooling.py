"""How a sentence encoder pools a sentence's tokens into one vector.

A sentence-transformers folder says so in modules.json and in the config.json of its
pooling module. A plain Hugging Face folder does not; the default is the mean.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypeAlias, TypeVar

from mlpeft.errors import DataError
from mlpeft.files import parse_json, parse_json_object

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

T = TypeVar("T")
Pooling: TypeAlias = Literal["mean", "cls"]
"""The mean over tokens, or the first token alone."""

_MODES: dict[str, Pooling] = {"mean_tokens": "mean", "cls_token": "cls"}
_PREFIX = "pooling_mode_"
_MODULES = ("Transformer", "Pooling", "Normalize")
"""Supported classes in modules.json; our vectors are always normalised."""


def read_pooling(folder: Path) -> Pooling:
    """Read how the model of a folder pools.

    Raises:
        DataError: If its pooling or one of its modules is not supported, such as a
            dense layer after the pooling.
    """
    file = folder / _pooling_folder(folder) / "config.json"
    if not file.is_file():
        return "mean"
    settings = _read_json(file, parse_json_object)
    modes = [
        key.removeprefix(_PREFIX)
        for key, value in settings.items()
        if key.startswith(_PREFIX) and value is True
    ]
    if len(modes) != 1 or modes[0] not in _MODES:
        raise DataError(
            f"{file} asks for {', '.join(modes) or 'no pooling'}; this encoder pools "
            f"by one of {', '.join(_MODES)}, so use a model that does"
        )
    return _MODES[modes[0]]


def _pooling_folder(folder: Path) -> str:
    """The subfolder with the settings of the pooling; checks that modules are known."""
    file = folder / "modules.json"
    subfolder = "1_Pooling"
    if not file.is_file():
        return subfolder
    for module in _read_json(file, _parse_modules):
        kind = module["type"].rpartition(".")[2]
        if kind not in _MODULES:
            raise DataError(
                f"{file} has a module {module['type']}; this encoder has only "
                f"{', '.join(_MODULES)}, so use a model without it"
            )
        if kind == "Pooling":
            subfolder = module["path"]
    return subfolder


def _parse_modules(content: bytes) -> list[dict[str, str]]:
    modules = parse_json(content)
    if not isinstance(modules, list):
        raise ValueError("expected a list of modules")  # noqa: TRY004 - of the file
    for module in modules:
        fields = module if isinstance(module, dict) else {}
        if not all(isinstance(fields.get(key), str) for key in ("type", "path")):
            raise ValueError(f"expected modules with type and path, got {module!r}")
    return modules


def _read_json(file: Path, parse: Callable[[bytes], T]) -> T:
    try:
        return parse(file.read_bytes())
    except ValueError as error:
        raise DataError(f"{file} is not valid JSON: {error}") from error
