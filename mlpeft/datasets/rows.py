"""The rows of a user's own file: JSON lines, a JSON array, or a table.

One reader for all files of examples, so that training, adapting and verifying agree on
what a file may look like: a byte-order mark, commas, semicolons or tabs, gzip.
"""

from __future__ import annotations

import csv
import gzip
import json
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

from mlpeft.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import IO

FORMATS = (".jsonl", ".json", ".csv", ".tsv")
COMPRESSED = ".gz"
_DELIMITERS = {",": "comma", ";": "semicolon", "\t": "tab"}


MOST_CHARACTERS = 64 << 20
"""Of a line: a packed file of some kilobytes may hold one of gigabytes."""


class Row(NamedTuple):
    """A row of a file.

    Attributes:
        place: The file and the line, or the number in a JSON array, for messages.
        values: The values by key or column; whatever else a line of JSON has.
    """

    place: str
    values: Any


def is_rows_file(name: str) -> bool:
    """Whether `read_rows` reads the format of a file of this name."""
    return name.lower().removesuffix(COMPRESSED).endswith(FORMATS)


def read_rows(path: Path) -> Iterator[Row]:
    """Read the rows of a file, in its order; empty lines are none.

    Raises:
        DataError: If it is missing, damaged or not UTF-8, a line is no JSON, or a row
            of a table has more cells than its header.
    """
    suffix = Path(path.name.lower().removesuffix(COMPRESSED)).suffix
    if suffix not in FORMATS:
        raise DataError(f"{path}: not a {', '.join(FORMATS)} file; give one of these")
    try:
        with _open(path) as file:
            lines = _check_encoding(path, file)
            if suffix == ".jsonl":
                yield from _read_json_lines(path, lines)
            elif suffix == ".json":
                yield from _read_json_array(path, lines)
            else:
                yield from _read_table(path, lines, tabs=suffix == ".tsv")
    except FileNotFoundError as error:
        raise DataError(
            f"no examples at {path.absolute()}; give a {', '.join(FORMATS)} file"
        ) from error
    except (OSError, EOFError, zlib.error, csv.Error) as error:
        raise DataError(f"{path} is damaged and cannot be read: {error}") from error


def check_text(place: str, text: str) -> None:
    r"""Raise DataError if half a character, such as `\ud83d` alone, is in a text."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise DataError(
            f"{place}: {text[error.start : error.end]!r} is half a character (a lone "
            "surrogate); write the text anew in UTF-8"
        ) from error


def _open(path: Path) -> IO[str]:
    # Bytes that are not UTF-8 become surrogates, so that their line can be named.
    if path.name.lower().endswith(COMPRESSED):
        return gzip.open(path, "rt", -1, "utf-8-sig", "surrogateescape", "")
    return path.open(encoding="utf-8-sig", errors="surrogateescape", newline="")


def _check_encoding(path: Path, file: IO[str]) -> Iterator[str]:
    """The lines of a file, of which none is too long or in another encoding."""
    lines = iter(lambda: file.readline(MOST_CHARACTERS + 1), "")
    for number, line in enumerate(lines, 1):
        if len(line) > MOST_CHARACTERS:
            raise DataError(
                f"{path}, line {number}: longer than {MOST_CHARACTERS} characters; "
                "is it a file of examples, one on each line?"
            )
        if "\0" in line or not line.isascii():
            try:
                binary = "\0" in line or not line.encode()
            except UnicodeEncodeError:
                binary = True
            if binary:
                raise DataError(
                    f"{path}, line {number}: not a text file in UTF-8; save it with "
                    "this encoding, which spreadsheets call CSV UTF-8"
                )
        yield line


def _read_json_lines(path: Path, lines: Iterable[str]) -> Iterator[Row]:
    for number, line in enumerate(lines, 1):
        if line.strip():
            place = f"{path}, line {number}"
            yield Row(place, _parse(place, line))


def _read_json_array(path: Path, lines: Iterable[str]) -> Iterator[Row]:
    values = _parse(str(path), "".join(lines))
    if not isinstance(values, list):
        raise DataError(
            f"{path}: expected a JSON array of examples, got {type(values).__name__}; "
            "name it .jsonl if it has an example on each line"
        )
    for number, row in enumerate(values, 1):
        yield Row(f"{path}, example {number}", row)


def _parse(place: str, text: str) -> Any:
    try:
        return json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{place}: not JSON ({error})") from error


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON value")


def _read_table(path: Path, lines: Iterable[str], *, tabs: bool) -> Iterator[Row]:
    lines = iter(lines)
    first = next(lines, None)
    if first is None:
        return
    # The header decides: a text may contain any of them, a column's name hardly.
    delimiter = "\t" if tabs else max(_DELIMITERS, key=first.count)
    reader = csv.reader(_chain(first, lines), delimiter=delimiter)
    header = [name.strip() for name in next(reader, [])]
    for cells in reader:
        if not cells:
            continue
        place = f"{path}, line {reader.line_num}"
        if len(cells) > len(header):
            raise DataError(
                f"{place}: {len(cells)} cells, but the header has {len(header)}; quote "
                f'the {_DELIMITERS[delimiter]} in a text: "..."'
            )
        yield Row(place, dict(zip(header, cells, strict=False)))


def _chain(first: str, rest: Iterable[str]) -> Iterator[str]:
    yield first
    yield from rest
