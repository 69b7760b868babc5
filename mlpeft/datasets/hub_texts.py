"""Labelled texts of a data set of the Hugging Face hub, as a file (extra: hub).

`hf:OWNER/NAME`, `hf:OWNER/NAME@REVISION`, or `hf:FOLDER` with files that the package
`datasets` reads, such as Parquet. What it gives is written as JSON lines of text and
label, so that from there on all is as with a file of one's own, on workers too: they
need neither a network nor the package. What `datasets` downloaded once it keeps, and
works without a network from then on.
"""

from __future__ import annotations

import hashlib
import json
import logging
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlpeft.datasets.text_files import TEXT_KEYS
from mlpeft.errors import DataError
from mlpeft.files import write_atomically
from mlpeft.platform import cache_folder

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mlpeft.datasets.text_files import Keys

log = logging.getLogger("mlpeft.tasks")

HUB = "hf:"
HUB_FILE = "texts.jsonl"
"""What the file is called on a worker."""
_LONGEST_REASON = 400


@dataclass(frozen=True, slots=True)
class HubTexts:
    """What to ask `datasets` for.

    Attributes:
        name: See above, with hf: before it.
        config: Which of the data set's configurations ("subsets"); None: its only one.
        split: Which of its splits, also a part such as train[:1000]; None: all of them,
            one after the other.
        keys: The columns of text and label.
    """

    name: str
    config: str | None = None
    split: str | None = None
    keys: Keys = TEXT_KEYS

    def __str__(self) -> str:
        parts = [f"{what} {value}" for what, value in self._parts() if value]
        return ", ".join((self.name, *parts))

    def _parts(self) -> tuple[tuple[str, str | None], ...]:
        return (("configuration", self.config), ("split", self.split))


@lru_cache(maxsize=4)
def hub_texts_file(asked: HubTexts) -> Path:
    """The file of a data set's labelled texts, in the user's cache folder.

    It is named by its digest: the same texts are the same file, others another.

    Raises:
        DataError: If the data set cannot be had, or has other columns.
    """
    lines, left_out = [], 0
    for text, label in _rows(asked):
        if label is None or not isinstance(text, str) or not text.strip():
            left_out += 1
            continue
        row = dict(zip(TEXT_KEYS, (text, label), strict=True))
        lines.append(json.dumps(row, ensure_ascii=False) + "\n")
    if not lines:
        raise DataError(f"{asked} has no labelled texts")
    if left_out:
        log.info("%s: rows without text or label left out: %d", asked, left_out)
    return _kept("".join(lines).encode())


def _kept(content: bytes) -> Path:
    folder = cache_folder() / "datasets"
    path = folder / f"{hashlib.sha256(content).hexdigest()}.jsonl"
    try:
        if not path.is_file() or path.read_bytes() != content:
            folder.mkdir(parents=True, exist_ok=True)
            write_atomically(path, content)
    except OSError as error:
        raise DataError(
            f"{path} cannot be written: {error}; name another folder with "
            "MLPEFT_CACHE_DIR"
        ) from error
    return path


def _rows(asked: HubTexts) -> Iterator[tuple[Any, str | None]]:
    """Text and label of each row; no label where the data set hides it."""
    for part in _loaded(asked):
        features = part.features
        lacking = [key for key in asked.keys if key not in features]
        if lacking:
            raise DataError(
                f"{asked} has no column {lacking[0]!r} but {', '.join(features)}; name "
                "them with task_params.text_key and label_key, or choose a split with "
                "task_params.hub_split"
            )
        texts, labels = (part[key] for key in asked.keys)
        names = getattr(features[asked.keys[1]], "names", None)
        for text, label in zip(texts, labels, strict=True):
            yield text, _label_name(asked, label, names)


def _label_name(asked: HubTexts, label: Any, names: list[str] | None) -> str | None:
    if label is None or label == "":
        return None
    if names is not None:
        # Hidden labels of a test set are -1 by convention.
        return names[label] if label >= 0 else None
    if not isinstance(label, str | int):
        raise DataError(
            f"{asked}: the label {label!r} is neither a text nor a whole number; a "
            "text must have one label (task_params.label_key names its column)"
        )
    return str(label)


def _loaded(asked: HubTexts) -> list[Any]:
    """The data set's splits, or the one that is asked for."""
    try:
        import datasets
    except ImportError as error:
        raise DataError(
            f"{asked.name} needs the package datasets; install it with: "
            "pip install 'mlpeft[hub]'"
        ) from error
    where = asked.name.removeprefix(HUB)
    folder = Path(where).expanduser()
    revision = None
    if folder.is_dir():
        where = str(folder)
    elif "@" in where:
        where, _, revision = where.partition("@")
    try:
        found = datasets.load_dataset(
            where, name=asked.config, split=asked.split, revision=revision
        )
    except Exception as error:  # network, disk, names: each has its own exceptions
        reason = f"{type(error).__name__}: {' '.join(str(error).split())}"
        tried = (
            f"from the folder {folder.absolute()}"
            if folder.is_dir()
            else f"from the Hugging Face hub; there is no folder {folder.absolute()}"
        )
        raise DataError(
            f"{asked} cannot be read by datasets {datasets.__version__} {tried} "
            f"({reason[:_LONGEST_REASON]}); check name, network and "
            "task_params.hub_config and hub_split, or give a .jsonl file"
        ) from error
    return list(found.values()) if isinstance(found, dict) else [found]
