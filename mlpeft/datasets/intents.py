"""The data sets of intents in the catalogue, and their class splits.

A data set NAME has two files in the data folder's `intents`:

    NAME.jsonl.gz       {"text": ..., "label": ...} a line, UTF-8
    NAME_splits.json    its class splits (`mlpeft.tasks.families.intents.classes`)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mlpeft.datasets.catalogue import CATALOGUE
from mlpeft.datasets.folders import find
from mlpeft.datasets.text_files import TEXT_KEYS, read_pairs

if TYPE_CHECKING:
    from pathlib import Path

DATA_SETS = ("clinc150", "banking77")
CLASS_SPLITS = ("01", "02", "03", "04", "05")
"""ProtAugment's (Dopierre et al. 2021, arXiv 2105.12995): disjoint by label."""


@dataclass(frozen=True, slots=True)
class IntentFiles:
    """The two files of a data set."""

    utterances: Path
    splits: Path


def intent_files(name: str, data_dir: str | Path | None = None) -> IntentFiles:
    """Find the files of a data set.

    Raises:
        DataError: If a file is missing, with how to get it.
    """
    remedy = CATALOGUE[name].remedy
    return IntentFiles(*(find(file, data_dir, remedy) for file in intent_names(name)))


def intent_names(name: str) -> tuple[str, str]:
    """Names of a data set's two files in a data folder: utterances and splits."""
    return f"intents/{name}.jsonl.gz", f"intents/{name}_splits.json"


def read_utterances(path: Path) -> dict[str, list[str]]:
    """Read the texts of each label; labels sorted by name, texts in the file's order.

    Raises:
        DataError: If the file is damaged.
    """
    texts: dict[str, list[str]] = {}
    for text, label in read_pairs(path, TEXT_KEYS):
        texts.setdefault(label, []).append(text)
    return {label: texts[label] for label in sorted(texts)}
