"""Files that came from a coordinator, by the names under which they are looked for.

Whoever looks for a data set or a pretrained model asks here first. What is provided
holds for one context (`contextvars`), in a worker its computing thread, so that workers
in one process do not get each other's.
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

Provided = tuple[tuple[str, "Path"], ...]
"""(name, place) pairs, sorted: can be a key of a cache."""

_current: ContextVar[Provided] = ContextVar("provided", default=())


def provide(files: Mapping[str, Path]) -> None:
    """From now on, in this context, these files are found under these names.

    Args:
        files: Place of each file or folder, by the name that a configuration or a
            family has for it; replaces what was provided before.
    """
    _current.set(tuple(sorted(files.items())))


def provided() -> Provided:
    """All that is provided in this context."""
    return _current.get()


def provided_path(name: str) -> Path | None:
    """Where the file or folder of this name is, if it was provided."""
    return next((path for known, path in _current.get() if known == name), None)
