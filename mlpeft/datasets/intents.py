"""Labelled utterances, and which labels are for training, validation and test.

A data set NAME is two files in the data folder's `intents`:

    NAME.jsonl.gz       {"text": ..., "label": ...} a line, UTF-8
    NAME_splits.json    {"splits": {"01": {"train": [label, ...], "valid": [...],
                        "test": [...]}, ...}}
"""

from __future__ import annotations

import gzip
import json
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mlpeft.datasets.catalogue import CATALOGUE
from mlpeft.datasets.folders import find
from mlpeft.errors import DataError

if TYPE_CHECKING:
    from pathlib import Path

DATA_SETS = ("clinc150", "banking77")
CLASS_SPLITS = ("01", "02", "03", "04", "05")
"""ProtAugment's (Dopierre et al. 2021, arXiv 2105.12995): disjoint by label."""
_PARTS = {"train": "train", "val": "valid", "test": "test"}


@dataclass(frozen=True, slots=True)
class IntentFiles:
    """The two files of a data set."""

    utterances: Path
    splits: Path


def intent_files(name: str, data_dir: str | Path | None = None) -> IntentFiles:
    """Where a data set lies.

    Raises:
        DataError: If a file is missing, saying how to get it.
    """
    remedy = CATALOGUE[name].remedy
    return IntentFiles(*(find(file, data_dir, remedy) for file in intent_names(name)))


def intent_names(name: str) -> tuple[str, str]:
    """Names of a data set's two files in a data folder: utterances and splits."""
    return f"intents/{name}.jsonl.gz", f"intents/{name}_splits.json"


def read_utterances(path: Path) -> dict[str, list[str]]:
    """Texts by label; labels in the order of their names, texts in the file's.

    Raises:
        DataError: If the file is damaged.
    """
    found: dict[str, list[str]] = {}
    number = 0
    try:
        with gzip.open(path, "rt", encoding="utf-8") as lines:
            for line in lines:
                number += 1
                row = json.loads(line)
                found.setdefault(str(row["label"]), []).append(str(row["text"]))
    except (OSError, EOFError, ValueError, LookupError, TypeError, zlib.error) as error:
        raise DataError(
            f"{path} is damaged at about line {number} ({error!r}); "
            'expected gzip with {"text": ..., "label": ...} on each line'
        ) from error
    return {label: found[label] for label in sorted(found)}


def read_class_split(path: Path, name: str) -> dict[str, list[str]]:
    """The labels of train, val and test in one class split, sorted.

    Raises:
        DataError: If the file is damaged or has no such split.
    """
    try:
        split = json.loads(path.read_text(encoding="utf-8"))["splits"][name]
        return {part: sorted(split[theirs]) for part, theirs in _PARTS.items()}
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise DataError(
            f"{path} is damaged or has no class split {name!r} ({error!r})"
        ) from error
