"""Labelled texts and pairs of texts in a user's own file: JSON lines or a table."""

from __future__ import annotations

import csv
import gzip
import json
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from mlpeft.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import IO

Keys: TypeAlias = tuple[str, str]
FORMATS = (".jsonl", ".csv")
PACKED = ".gz"


def is_pairs_file(name: str) -> bool:
    """Whether a file of this name is of a format that `read_pairs` reads."""
    return name.lower().removesuffix(PACKED).endswith(FORMATS)


def read_pairs(path: str | Path, keys: Keys, remedy: str = "") -> list[tuple[str, str]]:
    """The pairs of a file, in its order.

    Args:
        path: A .jsonl or a .csv file, or either packed by gzip.
        keys: The two keys or columns; others are passed over.
        remedy: What else to do if a line has other keys, for the message.

    Raises:
        DataError: If there is no such file, or a line is not an example.
    """
    path = Path(path)
    if not is_pairs_file(path.name):
        raise DataError(f"{path}: not a {' or '.join(FORMATS)} file; give one of these")
    try:
        with _opened(path) as lines:
            pairs = list(_checked(path, keys, _reader(path)(lines), remedy))
    except FileNotFoundError as error:
        raise DataError(
            f"no examples at {path.absolute()}; give a .jsonl or .csv file"
        ) from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not a text file (UTF-8)") from error
    except (OSError, EOFError, zlib.error, csv.Error) as error:
        raise DataError(f"{path} is damaged and cannot be read: {error}") from error
    if not pairs:
        raise DataError(f"{path} has no examples; {_expected(keys)}")
    return pairs


def _opened(path: Path) -> IO[str]:
    if path.name.lower().endswith(PACKED):
        return gzip.open(path, "rt", encoding="utf-8-sig", newline="")
    return path.open(encoding="utf-8-sig", newline="")


def _reader(path: Path) -> Callable[[Iterable[str]], Iterator[tuple[int, object]]]:
    inner = path.name.lower().removesuffix(PACKED)
    return _json_lines if inner.endswith(".jsonl") else _rows


def _expected(keys: Keys) -> str:
    one, other = keys
    return (
        f'expected {{"{one}": ..., "{other}": ...}} on each line of a .jsonl, or the '
        f"columns {one} and {other} in a .csv"
    )


def _checked(
    path: Path, keys: Keys, rows: Iterable[tuple[int, object]], remedy: str
) -> Iterator[tuple[str, str]]:
    for number, row in rows:
        found = row if isinstance(row, dict) else {}
        text, answer = (found.get(key) for key in keys)
        if not isinstance(text, str) or not text.strip() or answer in (None, ""):
            told = _expected(keys)
            if found and not set(keys) <= set(found):
                told += f"; it has {', '.join(map(str, found))}{remedy}"
            raise DataError(f"{path}, line {number}: not an example; {told}")
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


TEXT_KEYS = ("text", "label")


@dataclass(frozen=True, slots=True)
class LabelledTexts:
    """The texts of a file.

    Attributes:
        texts: By label, in the order of the labels' names, and then of the file.
        copies: How many further copies of texts within a label were left out.
        shared: Texts that several labels have.
    """

    texts: dict[str, list[str]]
    copies: int = 0
    shared: tuple[str, ...] = ()

    @property
    def about(self) -> str:
        """How many there are of what, for people."""
        sizes = {label: len(some) for label, some in self.texts.items()}
        least, most = min(sizes, key=sizes.__getitem__), max(sizes.values())
        texts = f"{sum(sizes.values()):,} texts of {len(sizes)} labels"
        told = [f"{texts}, {sizes[least]} ({least!r}) to {most} each"]
        if self.copies:
            told.append(f"copies of texts left out: {self.copies}")
        if self.shared:
            told.append(
                f"texts with several labels: {len(self.shared)}, such as "
                f"{self.shared[0]!r}"
            )
        return "; ".join(told)


def read_labelled(
    path: Path, keys: Keys = TEXT_KEYS, remedy: str = ""
) -> LabelledTexts:
    """The labelled texts of a file.

    Args:
        path: As for `mlpeft.datasets.text_files.read_pairs`.
        keys: The keys or columns of text and label.
        remedy: As for `read_pairs`.

    Raises:
        DataError: If there is no such file, or a line is not an example.
    """
    texts: dict[str, list[str]] = {}
    labels_of: dict[str, dict[str, str]] = {}
    copies = 0
    for text, label in read_pairs(path, keys, remedy):
        labels = labels_of.setdefault(" ".join(text.casefold().split()), {})
        if label in labels:
            copies += 1
            continue
        labels[label] = text
        texts.setdefault(label, []).append(text)
    shared = [next(iter(one.values())) for one in labels_of.values() if len(one) > 1]
    return LabelledTexts(
        {label: texts[label] for label in sorted(texts)}, copies, tuple(shared)
    )
