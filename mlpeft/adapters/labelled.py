"""What people hand to a classifier: lists, a table in memory, or a file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlpeft.datasets.rows import check_text, read_rows
from mlpeft.datasets.text_files import label_of
from mlpeft.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Iterable

TEXT, LABEL, LABELS = "text", "label", "labels"


def read_texts(texts: Any, column: str = TEXT) -> list[str]:
    """Texts of a list, a series, a column of a data frame, or a file.

    Raises:
        DataError: If one of them is no text, or the column or file is missing.
    """
    if isinstance(texts, Path) or _is_file(texts):
        rows = list(read_rows(Path(texts)))
        return [text_of(row.place, row.values, column) for row in rows]
    if isinstance(texts, str):
        raise DataError(
            f"expected several texts, got one string {texts[:40]!r}; give a list, or "
            "the path of a .csv or .jsonl file that exists"
        )
    if hasattr(texts, "columns"):
        if column not in texts.columns:
            raise DataError(
                f"the table has no column {column!r}, only "
                f"{', '.join(map(str, texts.columns))}; rename one"
            )
        texts = texts[column]
    found = list(texts)
    for number, text in enumerate(found, 1):
        if not isinstance(text, str) or not text.strip():
            raise DataError(f"text {number} is {text!r}, expected words")
        check_text(f"text {number}", text)
    return [str(text) for text in found]


def read_examples(
    texts: Any,
    labels: Any = None,
    *,
    text_column: str = TEXT,
    label_column: str = LABEL,
) -> tuple[list[str], list[tuple[str, ...]], bool]:
    """Texts, the labels of each, and whether a text may have several.

    Args:
        texts: As for `read_texts`.
        labels: One for each text, or a list for each text; None: the file or table has
            a column `label`, or `labels` with lists.
        text_column: The column of the texts.
        label_column: The column that is read in place of `label`.

    Raises:
        DataError: If they do not go together.
    """
    if labels is None:
        labels = _own_labels(texts, label_column)
    found = read_texts(texts, text_column) if _has_any(texts) else []
    given = list(labels)
    if len(given) != len(found):
        raise DataError(
            f"{len(found)} texts, but {len(given)} labels; give one for each text"
        )
    several = any(isinstance(one, list | tuple | set | frozenset) for one in given)
    rows = []
    for number, one in enumerate(given, 1):
        parts: Iterable[Any] = (
            one if isinstance(one, list | tuple | set | frozenset) else [one]
        )
        names = tuple(
            label_of(f"label {number}", LABEL, _plain(part)) for part in parts
        )
        if not several and not names[0]:
            raise DataError(f"label {number} is empty; give each text a label")
        rows.append(names)
    return found, rows, several


def _has_any(texts: Any) -> bool:
    return isinstance(texts, str | Path) or len(texts) > 0


def _own_labels(texts: Any, label_column: str) -> list[Any]:
    if isinstance(texts, Path) or _is_file(texts):
        rows = list(read_rows(Path(texts)))
        if not rows:
            raise DataError(
                f"{texts} has no examples; expected a row for each, with {TEXT} and "
                f"{label_column} (of a table, the first line names the columns)"
            )
        return [_label(row.place, row.values, label_column) for row in rows]
    columns = getattr(texts, "columns", ())
    for column in (label_column, LABELS):
        if column in columns:
            return list(texts[column])
    raise DataError(
        "no labels; give a list of them beside the texts, or a table or file with "
        f"columns {TEXT} and {label_column}"
    )


def _label(place: str, values: Any, column: str) -> Any:
    values = values if isinstance(values, dict) else {}
    if LABELS in values and column == LABEL:
        several = values[LABELS]
        if isinstance(several, str):
            return [part.strip() for part in several.split("|") if part.strip()]
        if isinstance(several, list):
            return several
        raise DataError(f"{place}: labels is {several!r}, expected a list of labels")
    if values.get(column) in (None, ""):
        raise DataError(
            f"{place}: no label in column {column!r}; {_columns(values, column)}"
        )
    return values[column]


def text_of(place: str, values: Any, column: str = TEXT) -> str:
    """The text of a row.

    Raises:
        DataError: If it has none.
    """
    value = values.get(column) if isinstance(values, dict) else None
    if not isinstance(value, str) or not value.strip():
        columns = _columns(values if isinstance(values, dict) else {}, column)
        raise DataError(f"{place}: no text in column {column!r}; {columns}")
    check_text(place, value)
    return value


def _columns(values: dict[Any, Any], column: str) -> str:
    """The columns of a row, and what to do if it lacks one."""
    if column in values:
        return "fill it in, or leave the row out"
    names = [str(name) for name in values]
    shown = ", ".join(name if len(name) <= 40 else f"{name[:40]}..." for name in names)
    return (
        f"its columns are {shown or 'none'}; rename one (the first line of a table "
        "names them), or give its name with --text-column or --label-column"
    )


def _is_file(texts: Any) -> bool:
    return isinstance(texts, str) and len(texts) < 4096 and Path(texts).is_file()


def _plain(value: Any) -> Any:
    """A NumPy scalar as Python's."""
    return value.item() if hasattr(value, "item") else value
