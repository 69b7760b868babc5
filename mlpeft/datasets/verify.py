"""Verify that a data set is present and undamaged."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from mlpeft.datasets import digits, omniglot
from mlpeft.datasets.completions import read_completions
from mlpeft.datasets.folders import find
from mlpeft.datasets.image_sets.image_file import check_digest, read_images
from mlpeft.datasets.rows import read_rows
from mlpeft.datasets.text_files import read_labelled
from mlpeft.errors import DataError
from mlpeft.files import file_digest

if TYPE_CHECKING:
    from pathlib import Path

    from mlpeft.datasets.catalogue import DataFile, DataSet
    from mlpeft.datasets.text_files import Keys


class State(StrEnum):
    """The state of a data set."""

    WHOLE = "whole"
    """Present, with the bytes in the catalogue."""
    USABLE = "usable"
    """Present and consistent, but with other bytes: made on this machine."""
    DAMAGED = "damaged"
    """Present, but not as expected."""
    MISSING = "missing"
    """Not present."""


@dataclass(frozen=True, slots=True)
class Report:
    """The result of verifying one data set.

    Attributes:
        name: The data set's name.
        state: The worst state of its files.
        paths: The files that are present.
        detail: What is wrong and what to do; empty if all is well.
    """

    name: str
    state: State
    paths: tuple[Path, ...]
    detail: str = ""


_WORST = (State.DAMAGED, State.MISSING, State.USABLE, State.WHOLE)


def verify(data_set: DataSet, first: Path | None = None) -> Report:
    """Find a data set's files and check them.

    Args:
        data_set: The data set.
        first: Folder to search first, see `mlpeft.datasets.folders`.
    """
    if data_set.name == digits.NAME:
        return _verify_digits()
    states, paths, details = [], [], []
    for file in data_set.files:
        try:
            path = find(file.path, remedy=data_set.remedy, first=first)
        except DataError as error:
            states.append(State.MISSING)
            details.append(str(error))
            continue
        state, detail = _verify_file(file, path, data_set.remedy)
        states.append(state)
        paths.append(path)
        details.append(detail)
    state = min(states, key=_WORST.index)
    detail = "; ".join(filter(None, details))
    return Report(data_set.name, state, tuple(paths), detail)


def verify_own(path: Path, keys: Keys) -> Report:
    """Verify a user's own file of labelled texts, or of completions by task.

    Args:
        path: As for `mlpeft.datasets.text_files.read_pairs`.
        keys: The keys or columns of text and label.
    """
    name = str(path)
    if not path.is_file():
        return Report(name, State.MISSING, (), f"no file at {path.absolute()}")
    try:
        remedy = "; name them with --text-key and --label-key"
        about = (
            read_completions(path).about
            if _has_completions(path, keys)
            else read_labelled(path, keys, remedy).about
        )
    except DataError as error:
        return Report(name, State.DAMAGED, (path,), str(error))
    return Report(name, State.USABLE, (path,), about)


def _has_completions(path: Path, keys: Keys) -> bool:
    """Whether the first row is of a task's completions, and not of labelled texts."""
    values = next((row.values for row in read_rows(path)), None)
    return (
        isinstance(values, dict) and "task" in values and not set(keys) <= set(values)
    )


def _verify_digits() -> Report:
    try:
        digest = digits.digits_sha256()
    except DataError as error:
        return Report(digits.NAME, State.MISSING, (), str(error))
    if digest == digits.SHA256:
        return Report(digits.NAME, State.WHOLE, ())
    detail = (
        f"scikit-learn's digits have SHA-256 {digest}, expected {digits.SHA256}; "
        "install another version of scikit-learn"
    )
    return Report(digits.NAME, State.DAMAGED, (), detail)


def _verify_images(path: Path) -> tuple[State, str]:
    """A colour data set, whose digest is in the file."""
    try:
        arrays = read_images(path)
        check_digest(arrays, path)
    except DataError as error:
        return State.DAMAGED, str(error)
    return State.USABLE, f"{arrays.about}; SHA-256 {arrays.sha256}"


def _verify_file(file: DataFile, path: Path, remedy: str) -> tuple[State, str]:
    if not file.sha256:
        return _verify_images(path)
    digest = file_digest(path)
    if digest == file.sha256:
        return State.WHOLE, ""
    if file.path == omniglot.FILE:
        try:
            arrays = omniglot.read_omniglot(path)
        except DataError as error:
            return State.DAMAGED, str(error)
        classes, drawings = arrays.images.shape[:2]
        return (
            State.USABLE,
            f"{classes} classes of {drawings} drawings, SHA-256 {digest}",
        )
    return (
        State.DAMAGED,
        f"{path} has SHA-256 {digest}, expected {file.sha256}; {remedy}",
    )
