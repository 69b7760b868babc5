"""Whether a data set is there, and whole."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from mlpeft.datasets import digits, omniglot
from mlpeft.datasets.folders import find
from mlpeft.datasets.text_files import read_labelled
from mlpeft.errors import DataError
from mlpeft.files import file_digest

if TYPE_CHECKING:
    from pathlib import Path

    from mlpeft.datasets.catalogue import DataFile, DataSet
    from mlpeft.datasets.text_files import Keys


class State(StrEnum):
    """What a data set was found to be."""

    WHOLE = "whole"
    """There, and byte for byte the known one."""
    USABLE = "usable"
    """There, readable and consistent, but not the known bytes: made on this machine."""
    DAMAGED = "damaged"
    """There, but not what it should be."""
    MISSING = "missing"
    """Not there."""


@dataclass(frozen=True, slots=True)
class Report:
    """What was found of one data set.

    Attributes:
        name: Of the data set.
        state: The worst of its files' states.
        paths: The files that were found.
        detail: What is wrong and what to do; empty if nothing is.
    """

    name: str
    state: State
    paths: tuple[Path, ...]
    detail: str = ""


_WORST = (State.DAMAGED, State.MISSING, State.USABLE, State.WHOLE)


def verify(data_set: DataSet, given: Path | None = None) -> Report:
    """Look for a data set's files and check them.

    Args:
        data_set: Which one.
        given: Folder to look into first, see `mlpeft.datasets.folders`.
    """
    if data_set.name == digits.NAME:
        return _look_at_digits()
    states, paths, details = [], [], []
    for file in data_set.files:
        try:
            path = find(file.path, remedy=data_set.remedy, given=given)
        except DataError as error:
            states.append(State.MISSING)
            details.append(str(error))
            continue
        state, detail = _look_at(file, path, data_set.remedy)
        states.append(state)
        paths.append(path)
        details.append(detail)
    state = min(states, key=_WORST.index)
    told = "; ".join(filter(None, details))
    return Report(data_set.name, state, tuple(paths), told)


def verify_own(path: Path, keys: Keys) -> Report:
    """Read a file of labelled texts of the user's own.

    Args:
        path: As for `mlpeft.datasets.text_files.read_pairs`.
        keys: The keys or columns of text and label.
    """
    name = str(path)
    if not path.is_file():
        return Report(name, State.MISSING, (), f"no file at {path.absolute()}")
    try:
        remedy = "; say which they are with --text-key and --label-key"
        about = read_labelled(path, keys, remedy).about
    except DataError as error:
        return Report(name, State.DAMAGED, (path,), str(error))
    return Report(name, State.USABLE, (path,), about)


def _look_at_digits() -> Report:
    try:
        found = digits.digits_sha256()
    except DataError as error:
        return Report(digits.NAME, State.MISSING, (), str(error))
    if found == digits.SHA256:
        return Report(digits.NAME, State.WHOLE, ())
    detail = (
        f"scikit-learn's digits have SHA-256 {found}, expected {digits.SHA256}; "
        "install another version of scikit-learn"
    )
    return Report(digits.NAME, State.DAMAGED, (), detail)


def _look_at(file: DataFile, path: Path, remedy: str) -> tuple[State, str]:
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
