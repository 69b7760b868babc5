"""Every error that mlpeft raises on purpose.

MlpeftError
├── ConfigError            an invalid configuration; lists every problem
│                          (also a ValueError)
├── TaskSamplingError      a task that does not exist, or cannot be sampled
├── DataError              a data set that is missing, damaged or not as expected
├── ShapeError             arrays whose shapes do not match (also a ValueError)
│   └── ParamMismatch      a parameter tree whose leaves are not the expected ones
├── CheckpointError        a checkpoint that cannot be written, read or trusted
└── ProtocolError          a violation of the cluster's protocol
    ├── LocalProtocolError     by this side: a bug here
    └── RemoteProtocolError    by the peer: rejected, state unchanged

A message says what was given, what was expected, and what to do.
"""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


class MlpeftError(Exception):
    """Base of all errors that mlpeft raises on purpose."""


class ConfigError(MlpeftError, ValueError):
    """An invalid configuration.

    Args:
        problems: One line each, with the key's path; or a single line.
        source: Where the configuration came from (a file, `--set`).
    """

    def __init__(self, problems: str | Iterable[str], source: str = "") -> None:
        self.problems = (problems,) if isinstance(problems, str) else tuple(problems)
        self.source = source
        head = f"{source}: " if source else ""
        lines = "\n".join(f"  - {problem}" for problem in self.problems)
        found = counted(len(self.problems), "configuration problem")
        super().__init__(f"{head}{found}:\n{lines}")


class TaskSamplingError(MlpeftError):
    """A task that is not in the distribution, or cannot be sampled."""


class DataError(MlpeftError):
    """A data set that is missing, damaged or not as expected."""


class ShapeError(MlpeftError, ValueError):
    """Arrays whose shapes or dtypes do not match."""


class ParamMismatch(ShapeError):  # noqa: N818 - named for what happened
    """A parameter tree whose leaves are not the expected ones."""


class CheckpointError(MlpeftError):
    """A checkpoint that cannot be written, read or trusted."""


class ProtocolError(MlpeftError):
    """A violation of the cluster's protocol."""


class LocalProtocolError(ProtocolError):
    """This side violated the protocol: a bug here."""


class RemoteProtocolError(ProtocolError):
    """The peer violated the protocol; its message was rejected, state is unchanged."""


SLIP, ALIKE = 0.85, 0.5
"""How alike (0 to 1, by difflib) words are that differ by a slip, and at all."""
LEAST_PART = 3
"""Letters from which on a part of a word hints at it."""
MOST_HINTS = 3


def counted(number: int, noun: str) -> str:
    """A number with its noun, for people: `1 text`, `5,263 texts`."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def nearest(word: str, valid: Iterable[str]) -> str:
    """A hint with the valid words nearest to this one, or with all valid words.

    A slip of the pen is nearest, then a part of a word (`linear` is no `folder`).
    """
    names = sorted(valid)
    part = _plain(word)
    close = _alike(word, names, SLIP)
    if not close and len(part) >= LEAST_PART:
        close = [name for name in names if _plain(name).startswith(part)]
        close = close or [name for name in names if part in _plain(name)]
    if not 0 < len(close) <= MOST_HINTS:
        close = _alike(word, names, ALIKE)
    if close:
        return f"did you mean {' or '.join(map(repr, close))}?"
    return f"valid are {', '.join(names)}" if names else "none is valid here"


def _alike(word: str, names: list[str], least: float) -> list[str]:
    return difflib.get_close_matches(word, names, n=1, cutoff=least)


def _plain(word: str) -> str:
    """A word without what people write in different ways."""
    return word.casefold().replace("-", "_").replace(" ", "_")
