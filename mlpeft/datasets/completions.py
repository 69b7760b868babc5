"""Prompts and completions of many tasks, from a file of JSON lines.

    {"task": "anna", "prompt": "The train is late.", "completion": "late AGAIN, sigh"}

are mlx-lm's `completions` with a task for each line: a person, a style, a product.
Lines may also have a `split` (train, val or test), the same for all of a task; if none
has one, the tasks are dealt 3 : 1 : 1 by their names. A file that ends in .gz is
unpacked.
"""

from __future__ import annotations

import gzip
import json
import zlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from mlpeft.datasets.split_assignment import SPLITS, assign_splits
from mlpeft.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_KEYS = ("task", "prompt", "completion")


@dataclass(frozen=True, slots=True)
class Example:
    """What is given, and what a model should say then."""

    prompt: str
    completion: str


@dataclass(slots=True)
class CompletionTasks:
    """The tasks of a file.

    Attributes:
        examples: Of each task, in the file's order.
        splits: The names of the tasks of each split, sorted; an empty one is left out.
    """

    examples: dict[str, list[Example]] = field(default_factory=dict)
    splits: dict[str, list[str]] = field(default_factory=dict)


def read_completions(path: Path) -> CompletionTasks:
    """Read a file of completions.

    Raises:
        DataError: If it is missing, or a line is not of the form above.
    """
    if not path.is_file():
        raise DataError(
            f"no file at {path.absolute()}; expected JSON lines with "
            f"{', '.join(_KEYS)} (docs/language_models.md)"
        )
    found = CompletionTasks()
    named: dict[str, str | None] = {}
    for place, row in _rows(path):
        task = str(row["task"])
        split = row.get("split")
        if split is not None and split not in SPLITS:
            raise DataError(f"{place}: split is {split!r}, expected one of {SPLITS}")
        if named.setdefault(task, split) != split:
            raise DataError(
                f"{place}: task {task!r} has split {named[task]!r} on an earlier line "
                f"and {split!r} here; a task belongs to one split"
            )
        example = Example(str(row["prompt"]), str(row["completion"]))
        found.examples.setdefault(task, []).append(example)
    if not found.examples:
        raise DataError(f"{path} has no lines")
    if set(named.values()) == {None}:
        found.splits = assign_splits(named)
    elif None in named.values():
        without = next(task for task, split in named.items() if split is None)
        raise DataError(
            f"{path}: task {without!r} has no split but others do; give all or none"
        )
    else:
        shares = {
            split: sorted(task for task, its in named.items() if its == split)
            for split in SPLITS
        }
        found.splits = {split: names for split, names in shares.items() if names}
    return found


def _rows(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each line that is not empty, with its place for messages."""
    number = 0
    try:
        with (gzip.open if path.suffix == ".gz" else open)(
            path, "rt", encoding="utf-8"
        ) as lines:
            for line in lines:
                number += 1
                if not line.strip():
                    continue
                place = f"{path}, line {number}"
                row = json.loads(line)
                _check(place, row)
                yield place, row
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise DataError(
            f"{path} cannot be read at about line {number} ({error!r}); expected "
            "JSON lines in UTF-8"
        ) from error


def _check(place: str, row: Any) -> None:
    if not isinstance(row, dict) or not set(_KEYS) <= set(row):
        given = ", ".join(row) if isinstance(row, dict) else type(row).__name__
        raise DataError(f"{place}: expected {', '.join(_KEYS)}, got {given}")
    for key in ("prompt", "completion"):
        if not isinstance(row[key], str):
            raise DataError(f"{place}: {key} is {row[key]!r}, expected a text")
    if not row["completion"]:
        raise DataError(f"{place}: the completion is empty; there is nothing to learn")
