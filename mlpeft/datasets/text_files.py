"""Labelled texts and pairs of texts in a user's own file: JSON lines or CSV."""

from __future__ import annotations

import csv
import gzip
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from mlpeft.errors import DataError
from mlpeft.files import parse_json

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import IO

Keys: TypeAlias = tuple[str, str]
FORMATS = (".jsonl", ".csv")
COMPRESSED = ".gz"
TEXT_KEYS = ("text", "label")


@dataclass(frozen=True, slots=True)
class LabelledTexts:
    """The texts of a file.

    Attributes:
        texts: The texts of each label, in the file's order; labels sorted by name.
        copies: How many copies of texts within a label were left out.
        shared: Texts that several labels have.
    """

    texts: dict[str, list[str]]
    copies: int = 0
    shared: tuple[str, ...] = ()

    @property
    def about(self) -> str:
        """The numbers of texts and labels, for people."""
        sizes = {label: len(texts) for label, texts in self.texts.items()}
        rarest, largest = min(sizes, key=sizes.__getitem__), max(sizes.values())
        counts = f"{sum(sizes.values()):,} texts of {len(sizes)} labels"
        parts = [f"{counts}, {sizes[rarest]} ({rarest!r}) to {largest} each"]
        if self.copies:
            parts.append(f"copies of texts left out: {self.copies}")
        if self.shared:
            parts.append(
                f"texts with several labels: {len(self.shared)}, such as "
                f"{self.shared[0]!r}"
            )
        return "; ".join(parts)


def is_pairs_file(name: str) -> bool:
    """Whether `read_pairs` reads the format of a file of this name."""
    return name.lower().removesuffix(COMPRESSED).endswith(FORMATS)


def read_pairs(path: str | Path, keys: Keys, remedy: str = "") -> list[tuple[str, str]]:
    """Read the pairs of a file, in its order.

    Args:
        path: A .jsonl or a .csv file, or either compressed by gzip.
        keys: The two keys or columns; others are ignored.
        remedy: What to do if a line has other keys, for the message.

    Raises:
        DataError: If there is no such file, or a line is not an example.
    """
    path = Path(path)
    if not is_pairs_file(path.name):
        raise DataError(f"{path}: not a {' or '.join(FORMATS)} file; give one of these")
    try:
        with _open(path) as lines:
            pairs = list(_check_rows(path, keys, _read_rows(path, lines), remedy))
    except FileNotFoundError as error:
        raise DataError(
            f"no examples at {path.absolute()}; give a .jsonl or .csv file"
        ) from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not a text file (UTF-8)") from error
    except (OSError, EOFError, zlib.error, csv.Error) as error:
        raise DataError(f"{path} is damaged and cannot be read: {error}") from error
    if not pairs:
        raise DataError(f"{path} has no examples; {_describe_format(keys)}")
    return pairs


def read_labelled(
    path: Path, keys: Keys = TEXT_KEYS, remedy: str = ""
) -> LabelledTexts:
    """Read the labelled texts of a file; drop copies within a label.

    Args:
        path: As for `read_pairs`.
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
    shared = [
        next(iter(labels.values())) for labels in labels_of.values() if len(labels) > 1
    ]
    return LabelledTexts(
        {label: texts[label] for label in sorted(texts)}, copies, tuple(shared)
    )


def _open(path: Path) -> IO[str]:
    if path.name.lower().endswith(COMPRESSED):
        return gzip.open(path, "rt", encoding="utf-8-sig", newline="")
    return path.open(encoding="utf-8-sig", newline="")


def _read_rows(path: Path, lines: Iterable[str]) -> Iterator[tuple[int, object]]:
    """Line number and row of each line."""
    if path.name.lower().removesuffix(COMPRESSED).endswith(".jsonl"):
        yield from _read_json_lines(lines)
    else:
        reader = csv.DictReader(lines)
        for row in reader:
            yield reader.line_num, row


def _read_json_lines(lines: Iterable[str]) -> Iterator[tuple[int, object]]:
    for number, line in enumerate(lines, 1):
        if line.strip():
            try:
                yield number, parse_json(line)
            except ValueError:
                yield number, None


def _check_rows(
    path: Path, keys: Keys, rows: Iterable[tuple[int, object]], remedy: str
) -> Iterator[tuple[str, str]]:
    for number, row in rows:
        values = row if isinstance(row, dict) else {}
        text, answer = (values.get(key) for key in keys)
        if not isinstance(text, str) or not text.strip() or answer in (None, ""):
            hint = _describe_format(keys)
            if values and not set(keys) <= set(values):
                hint += f"; it has {', '.join(map(str, values))}{remedy}"
            raise DataError(f"{path}, line {number}: not an example; {hint}")
        yield text, str(answer)


def _describe_format(keys: Keys) -> str:
    text, answer = keys
    return (
        f'expected {{"{text}": ..., "{answer}": ...}} on each line of a .jsonl, or the '
        f"columns {text} and {answer} in a .csv"
    )
