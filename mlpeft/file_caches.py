"""Caches of what was read from files, forgotten where a file has changed.

A run must not see its data change while it trains, so a file is looked at again when
tasks are built, not whenever its contents are used.
"""

from __future__ import annotations

import os
from functools import lru_cache, wraps
from pathlib import Path
from typing import TYPE_CHECKING, ParamSpec, TypeVar, cast

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

Args = ParamSpec("Args")
T = TypeVar("T")
Version = tuple[tuple[str, int, int], ...]
"""Path, bytes and time of change in nanoseconds: of a file, or of all in a folder."""

_versions: dict[Path, Version] = {}
_clear: list[Callable[[], None]] = []


def cached_read(maxsize: int) -> Callable[[Callable[Args, T]], Callable[Args, T]]:
    """Keep what a function made of its arguments until `forget_changed_files`.

    Args:
        maxsize: Results to keep. Arguments must be hashable; those that are paths, or
            have `files()` by name, say which files are read.
    """

    def decorate(read: Callable[Args, T]) -> Callable[Args, T]:
        @lru_cache(maxsize)
        @wraps(read)
        def cached(*args: Args.args, **kwargs: Args.kwargs) -> T:
            for path in _paths(*args, *kwargs.values()):
                _versions.setdefault(path, _version(path))  # before it is read
            return read(*args, **kwargs)

        _clear.append(cached.cache_clear)
        return cast("Callable[Args, T]", cached)

    return decorate


def forget_changed_files() -> None:
    """Empty all these caches if one of the files is not as it was when it was read.

    All, since they are made of one another: token ids of the texts of a file.
    """
    if any(_version(path) != seen for path, seen in list(_versions.items())):
        for clear in _clear:
            clear()
        _versions.clear()


def _paths(*values: object) -> Iterator[Path]:
    for value in values:
        if isinstance(value, Path):
            yield value
        elif hasattr(value, "files"):
            yield from value.files().values()


def _version(path: Path) -> Version:
    """Empty for a file that is not there."""
    if path.is_dir():
        names = (
            Path(folder, name) for folder, _, files in os.walk(path) for name in files
        )
        return tuple(sorted(filter(None, map(_stat, names))))
    seen = _stat(path)
    return () if seen is None else (seen,)


def _stat(path: Path) -> tuple[str, int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return str(path), status.st_size, status.st_mtime_ns
