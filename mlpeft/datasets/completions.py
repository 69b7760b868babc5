"""Prompts and completions of many tasks, from a file of the user's.

    {"task": "anna", "prompt": "The train is late.", "completion": "late AGAIN, sigh"}

This is mlx-lm's `completions` format with a task per line: a person, a style, a
product. Instead of prompt and completion a line may have `messages` (see
`mlpeft.datasets.chat`). Lines may also have a `split` (train, val or test), the same
for all lines of a task; if none has one, tasks are split 3 : 1 : 1 by name. A JSON
array and a table have the same keys (see `mlpeft.datasets.rows`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from mlpeft.datasets.chat import with_pair
from mlpeft.datasets.rows import check_text, read_rows
from mlpeft.datasets.split_assignment import SPLITS, assign_splits
from mlpeft.datasets.text_files import label_of
from mlpeft.errors import DataError, counted

if TYPE_CHECKING:
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
            f"{counted(sum(sizes.values()), 'example')}; tasks: {splits}; "
            f"{sizes[rarest]} ({rarest!r}) to "
            f"{counted(max(sizes.values()), 'example')} each"
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
    for place, values in read_rows(path):
        row = with_pair(place, values)
        _check_row(place, row)
        task = label_of(place, "task", row["task"])
        split = row.get("split")
        if split is not None and split not in SPLITS:
            raise DataError(f"{place}: split is {split!r}, expected one of {SPLITS}")
        if split_of.setdefault(task, split) != split:
            raise DataError(
                f"{place}: task {task!r} has split {split_of[task]!r} on an earlier "
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


def _check_row(place: str, row: object) -> None:
    if not isinstance(row, dict) or not set(_KEYS) <= set(row):
        contents = ", ".join(row) if isinstance(row, dict) else type(row).__name__
        raise DataError(f"{place}: expected {', '.join(_KEYS)}, got {contents}")
    for key in ("prompt", "completion"):
        if not isinstance(row[key], str):
            raise DataError(f"{place}: {key} is {row[key]!r}, expected a string")
        check_text(place, row[key])
    if not row["completion"]:
        raise DataError(f"{place}: the completion is empty; there is nothing to learn")
