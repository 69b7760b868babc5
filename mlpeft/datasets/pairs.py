"""Pairs of texts in a file of the user's own: a line of JSON each, or a table.

    .jsonl   {"text": ..., "label": ...} a line, UTF-8
    .csv     a header with text and label among its columns, then a row each

or with other keys, such as prompt and completion.
"""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from mlpeft.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

Keys: TypeAlias = tuple[str, str]


def read_pairs(path: str | Path, keys: Keys) -> list[tuple[str, str]]:
    """The pairs of a file, in its order.

    Args:
        path: A .jsonl or a .csv file.
        keys: The two keys or columns; others are passed over.

    Raises:
        DataError: If there is no such file, or a line is not an example.
    """
    path = Path(path)
    readers = {".jsonl": _json_lines, ".csv": _rows}
    if path.suffix not in readers:
        raise DataError(f"{path}: not a {' or '.join(readers)} file; give one of these")
    try:
        with path.open(encoding="utf-8-sig", newline="") as lines:
            pairs = list(_checked(path, keys, readers[path.suffix](lines)))
    except FileNotFoundError as error:
        raise DataError(
            f"no examples at {path.absolute()}; give a .jsonl or .csv file"
        ) from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not a text file (UTF-8)") from error
    if not pairs:
        raise DataError(f"{path} has no examples; {_expected(keys)}")
    return pairs


def _expected(keys: Keys) -> str:
    one, other = keys
    return (
        f'expected {{"{one}": ..., "{other}": ...}} on each line of a .jsonl, or the '
        f"columns {one} and {other} in a .csv"
    )


def _checked(
    path: Path, keys: Keys, rows: Iterable[tuple[int, object]]
) -> Iterator[tuple[str, str]]:
    for number, row in rows:
        found = row if isinstance(row, dict) else {}
        text, answer = (found.get(key) for key in keys)
        if not isinstance(text, str) or not text.strip() or answer in (None, ""):
            raise DataError(f"{path}, line {number}: not an example; {_expected(keys)}")
        yield text, str(answer)


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
