"""Labelled texts of the user's own: a line of JSON each, or a table.

.jsonl   {"text": ..., "label": ...} a line, UTF-8
.csv     a header with text and label among its columns, then a row each
"""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from mlpeft.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

COLUMNS = ("text", "label")


class Labelled(NamedTuple):
    """A text and what it is called."""

    text: str
    label: str


def read_labelled(path: str | Path) -> list[Labelled]:
    """The examples of a file, in its order.

    Args:
        path: A .jsonl or a .csv file; keys and columns beside text and label are
            passed over.

    Raises:
        DataError: If there is no such file, or a line is not an example.
    """
    path = Path(path)
    readers = {".jsonl": _json_lines, ".csv": _rows}
    if path.suffix not in readers:
        raise DataError(
            f"{path} is not a {' or '.join(readers)} file; give one of these"
        )
    try:
        with path.open(encoding="utf-8-sig", newline="") as lines:
            examples = list(_checked(path, readers[path.suffix](lines)))
    except FileNotFoundError as error:
        raise DataError(
            f"no examples at {path.absolute()}; give a .jsonl or .csv file"
        ) from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not a text file (UTF-8)") from error
    if not examples:
        raise DataError(f"{path} has no examples; {_EXPECTED}")
    return examples


_EXPECTED = (
    'expected {"text": ..., "label": ...} on each line of a .jsonl, or the columns '
    "text and label in a .csv"
)


def _checked(path: Path, rows: Iterable[tuple[int, object]]) -> Iterator[Labelled]:
    for number, row in rows:
        found = row if isinstance(row, dict) else {}
        text, label = (found.get(name) for name in COLUMNS)
        if not isinstance(text, str) or not text.strip() or label in (None, ""):
            raise DataError(f"{path}, line {number}: not an example; {_EXPECTED}")
        yield Labelled(text, str(label))


def _json_lines(lines: Iterable[str]) -> Iterator[tuple[int, object]]:
    for number, line in enumerate(lines, 1):
        if line.strip():
            try:
                yield number, json.loads(line)
            except ValueError:
                yield number, None


def _rows(lines: Iterable[str]) -> Iterator[tuple[int, object]]:
    reader = csv.DictReader(lines)
    for row in reader:
        yield reader.line_num, row
