"""Labelled texts of a data set on the Hugging Face hub, as a file (extra: hub).

`hf:OWNER/NAME`, `hf:OWNER/NAME@REVISION`, or `hf:FOLDER` with files that the package
`datasets` reads, such as Parquet. The texts and labels are written as JSON lines and
then handled like a user's own file; workers need neither a network nor the package.
`datasets` caches its downloads and then works offline.
"""

from __future__ import annotations

import hashlib
import json
import logging
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from mlpeft.datasets.text_files import TEXT_KEYS
from mlpeft.errors import DataError
from mlpeft.files import write_atomically
from mlpeft.platform import cache_folder
from mlpeft.platform.home import expanded

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from mlpeft.datasets.text_files import Keys

log = logging.getLogger("mlpeft.tasks")

HUB = "hf:"
HUB_FILE = "texts.jsonl"
"""The file's name on a worker."""
_LONGEST_REASON = 400


@dataclass(frozen=True, slots=True)
class HubTexts:
    """A selection from a data set of `datasets`.

    Attributes:
        name: See above, with the prefix hf:.
        config: One of the data set's configurations ("subsets"); None: its only one.
        split: One of its splits, or a part such as train[:1000]; None: all splits,
            concatenated.
        keys: The columns of text and label.
    """

    name: str
    config: str | None = None
    split: str | None = None
    keys: Keys = TEXT_KEYS

    def __str__(self) -> str:
        parts = [self.name]
        if self.config:
            parts.append(f"configuration {self.config}")
        if self.split:
            parts.append(f"split {self.split}")
        return ", ".join(parts)


@lru_cache(maxsize=4)
def hub_texts_file(selection: HubTexts) -> Path:
    """The file of a data set's labelled texts, in the user's cache folder.

    Its name is its digest, so the same texts have the same file.

    Raises:
        DataError: If the data set cannot be read, or has other columns.
    """
    lines, skipped = [], 0
    for text, label in _read_rows(selection):
        if label is None or not isinstance(text, str) or not text.strip():
            skipped += 1
            continue
        row = dict(zip(TEXT_KEYS, (text, label), strict=True))
        lines.append(json.dumps(row, ensure_ascii=False) + "\n")
    if not lines:
        raise DataError(f"{selection} has no labelled texts")
    if skipped:
        log.info("%s: skipped %d rows without text or label", selection, skipped)
    return _write_to_cache("".join(lines).encode())


def _write_to_cache(content: bytes) -> Path:
    folder = cache_folder() / "datasets"
    path = folder / f"{hashlib.sha256(content).hexdigest()}.jsonl"
    try:
        if not path.is_file() or path.read_bytes() != content:
            folder.mkdir(parents=True, exist_ok=True)
            write_atomically(path, content)
    except OSError as error:
        raise DataError(
            f"{path} cannot be written: {error}; set MLPEFT_CACHE_DIR to another folder"
        ) from error
    return path


def _read_rows(selection: HubTexts) -> Iterator[tuple[object, str | None]]:
    """Text and label of each row; no label if the data set hides it."""
    for split in _load_splits(selection):
        features = split.features
        missing = [key for key in selection.keys if key not in features]
        if missing:
            raise DataError(
                f"{selection} has no column {missing[0]!r} but {', '.join(features)}; "
                "name them with task_params.text_key and label_key, or choose a split "
                "with task_params.hub_split"
            )
        texts, labels = (split[key] for key in selection.keys)
        names = getattr(features[selection.keys[1]], "names", None)
        for text, label in zip(texts, labels, strict=True):
            yield text, _label_name(selection, label, names)


def _label_name(selection: HubTexts, label: Any, names: list[str] | None) -> str | None:
    if label is None or label == "":
        return None
    if names is not None:
        # By convention -1 is a hidden label of a test set.
        return names[label] if label >= 0 else None
    if not isinstance(label, str | int):
        raise DataError(
            f"{selection}: the label {label!r} is neither a string nor an integer; a "
            "text must have one label (task_params.label_key names its column)"
        )
    return str(label)


def _load_splits(selection: HubTexts) -> list[Any]:
    """Load the data set's splits, or the selected one."""
    try:
        import datasets
    except ImportError as error:
        raise DataError(
            f"{selection.name} needs the package datasets; install it with: "
            "pip install 'mlpeft[hub]'"
        ) from error
    path = selection.name.removeprefix(HUB)
    folder = expanded(path)
    revision = None
    if folder.is_dir():
        path = str(folder)
    elif "@" in path:
        path, _, revision = path.partition("@")
    try:
        splits = datasets.load_dataset(
            path, name=selection.config, split=selection.split, revision=revision
        )
    except Exception as error:  # network, disk, names: each has its own exceptions
        reason = f"{type(error).__name__}: {' '.join(str(error).split())}"
        source = (
            f"from the folder {folder.absolute()}"
            if folder.is_dir()
            else f"from the Hugging Face hub; there is no folder {folder.absolute()}"
        )
        raise DataError(
            f"{selection} cannot be read by datasets {datasets.__version__} {source} "
            f"({reason[:_LONGEST_REASON]}); check the name, the network, "
            "task_params.hub_config and hub_split, or give a .jsonl file"
        ) from error
    return list(splits.values()) if isinstance(splits, dict) else [splits]
