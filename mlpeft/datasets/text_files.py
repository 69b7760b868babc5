"""Labelled texts and pairs of texts in a user's own file: JSON or a table."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from mlpeft.datasets.chat import with_pair
from mlpeft.datasets.rows import check_text, is_rows_file, read_rows
from mlpeft.errors import DataError, counted

if TYPE_CHECKING:
    from mlpeft.datasets.rows import Row

Keys: TypeAlias = tuple[str, str]
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
        total = sum(sizes.values())
        counts = f"{counted(total, 'text')} of {counted(len(sizes), 'label')}"
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
    return is_rows_file(name)


def read_pairs(
    path: str | Path,
    keys: Keys,
    remedy: str = "",
    *,
    labels: bool = True,
    or_keys: Keys | None = None,
) -> list[tuple[str, str]]:
    """Read the pairs of a file, in its order.

    Args:
        path: A file that `mlpeft.datasets.rows` reads.
        keys: The two keys or columns; others are ignored.
        remedy: What to do if a line has other keys, for the message.
        labels: Whether the second is a label, without white space around it, or a
            text, which is kept as it is.
        or_keys: The keys of a row that does not have `keys`.

    Raises:
        DataError: If there is no such file, or a line is not an example.
    """
    path = Path(path)
    pairs = []
    for row in read_rows(path):
        values = row.values if labels else with_pair(*row)
        pairs.append(
            _pair(row._replace(values=values), keys, or_keys or keys, remedy, labels)
        )
    if not pairs:
        raise DataError(f"{path} has no examples; {_describe_format(keys)}")
    return pairs


def label_of(place: str, key: str, value: object) -> str:
    """A label, or another name, as a string without white space around it.

    Raises:
        DataError: If it is neither a string nor a whole number.
    """
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise DataError(
            f"{place}: {key} is {value!r}, expected a string or a whole number"
        )
    return str(value).strip()


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


def _pair(
    row: Row, keys: Keys, or_keys: Keys, remedy: str, labels: bool
) -> tuple[str, str]:
    """The two texts of a row."""
    values = row.values if isinstance(row.values, dict) else {}
    if not set(keys) <= set(values) and set(or_keys) <= set(values):
        keys = or_keys
    text, answer = (values.get(key) for key in keys)
    blank = answer is None or (isinstance(answer, str) and not answer.strip())
    if not isinstance(text, str) or not text.strip() or blank:
        hint = _describe_format(keys)
        if values and not set(keys) <= set(values):
            hint += f"; it has {', '.join(map(str, values))}{remedy}"
        raise DataError(f"{row.place}: not an example; {hint}")
    label = label_of(row.place, keys[1], answer)
    for part in (text, label):
        check_text(row.place, part)
    return text, label if labels else str(answer)


def _describe_format(keys: Keys) -> str:
    text, answer = keys
    return (
        f'expected {{"{text}": ..., "{answer}": ...}} on each line of a .jsonl or in '
        f"the array of a .json, or the columns {text} and {answer} in a .csv"
    )
