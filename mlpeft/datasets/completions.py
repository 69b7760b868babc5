"""Prompts and completions of many tasks, from a file of JSON lines.

    {"task": "anna", "prompt": "The train is late.", "completion": "late AGAIN, sigh"}

This is mlx-lm's `completions` format with a task per line: a person, a style, a
product. Lines may also have a `split` (train, val or test), the same for all lines of a
task; if none has one, tasks are split 3 : 1 : 1 by name. Files ending in .gz are
decompressed.
"""

from __future__ import annotations

import gzip
import zlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from mlpeft.datasets.split_assignment import SPLITS, assign_splits
from mlpeft.errors import DataError
from mlpeft.files import parse_json

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_KEYS = ("task", "prompt", "completion")


@dataclass(frozen=True, slots=True)
class Example:
    """A prompt and the completion that a model should learn."""

    prompt: str
    completion: str


@dataclass(slots=True)
class CompletionTasks:
    """The tasks of a file.

    Attributes:
        examples: The examples of each task, in the file's order.
        splits: The sorted names of the tasks in each split that is not empty.
    """

    examples: dict[str, list[Example]] = field(default_factory=dict)
    splits: dict[str, list[str]] = field(default_factory=dict)

    @property
    def about(self) -> str:
        """The numbers of tasks and examples, for people."""
        sizes = {task: len(examples) for task, examples in self.examples.items()}
        rarest = min(sizes, key=sizes.__getitem__)
        splits = ", ".join(
            f"{split} {len(tasks)}" for split, tasks in self.splits.items()
        )
        return (
            f"{sum(sizes.values()):,} examples; tasks: {splits}; {sizes[rarest]} "
            f"({rarest!r}) to {max(sizes.values())} examples each"
        )


def read_completions(path: Path) -> CompletionTasks:
    """Read a file of completions.

    Raises:
        DataError: If it is missing, or a line does not have the format above.
    """
    if not path.is_file():
        raise DataError(
            f"no file at {path.absolute()}; expected JSON lines with "
            f"{', '.join(_KEYS)} (docs/language_models.md)"
        )
    tasks = CompletionTasks()
    split_of: dict[str, str | None] = {}
    for position, row in _read_rows(path):
        task = str(row["task"])
        split = row.get("split")
        if split is not None and split not in SPLITS:
            raise DataError(f"{position}: split is {split!r}, expected one of {SPLITS}")
        if split_of.setdefault(task, split) != split:
            raise DataError(
                f"{position}: task {task!r} has split {split_of[task]!r} on an earlier "
                f"line and {split!r} here; a task belongs to one split"
            )
        example = Example(str(row["prompt"]), str(row["completion"]))
        tasks.examples.setdefault(task, []).append(example)
    if not tasks.examples:
        raise DataError(f"{path} has no lines")
    if set(split_of.values()) == {None}:
        tasks.splits = assign_splits(split_of)
    elif None in split_of.values():
        task = next(task for task, split in split_of.items() if split is None)
        raise DataError(
            f"{path}: task {task!r} has no split but others do; give all or none"
        )
    else:
        by_split = {
            split: sorted(task for task in split_of if split_of[task] == split)
            for split in SPLITS
        }
        tasks.splits = {split: names for split, names in by_split.items() if names}
    return tasks


def _read_rows(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each line that is not empty, with its position for messages."""
    number = 0
    try:
        with (gzip.open if path.suffix == ".gz" else open)(
            path, "rt", encoding="utf-8"
        ) as lines:
            for line in lines:
                number += 1
                if not line.strip():
                    continue
                position = f"{path}, line {number}"
                row = parse_json(line)
                _check_row(position, row)
                yield position, row
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise DataError(
            f"{path} cannot be read near line {number} ({error!r}); expected "
            "JSON lines in UTF-8"
        ) from error


def _check_row(position: str, row: object) -> None:
    if not isinstance(row, dict) or not set(_KEYS) <= set(row):
        contents = ", ".join(row) if isinstance(row, dict) else type(row).__name__
        raise DataError(f"{position}: expected {', '.join(_KEYS)}, got {contents}")
    for key in ("prompt", "completion"):
        if not isinstance(row[key], str):
            raise DataError(f"{position}: {key} is {row[key]!r}, expected a string")
    if not row["completion"]:
        raise DataError(
            f"{position}: the completion is empty; there is nothing to learn"
        )
