"""Files: written whole or not at all, their digests and sizes, and where they lie."""

from __future__ import annotations

import hashlib
import os
from contextvars import ContextVar
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


def write_atomically(path: Path, content: bytes, mode: int = 0o666) -> None:
    """Write a file under a temporary name beside it, flush it to disk and rename it.

    Args:
        path: Where; replaced if it is there.
        content: What.
        mode: Permissions, less the umask. The file never has others, not even while it
            is written.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    temporary.unlink(missing_ok=True)
    try:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
        with os.fdopen(os.open(temporary, flags, mode), "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def size_text(size_bytes: float) -> str:
    """A number of bytes for people: three figures, in powers of ten."""
    for unit in ("B", "kB", "MB", "GB"):
        if size_bytes < 1000:
            decimals = 0 if unit == "B" or size_bytes >= 100 else 1
            return f"{size_bytes:.{decimals}f} {unit}"
        size_bytes /= 1000
    return f"{size_bytes:.1f} TB"


def file_digest(path: Path, algorithm: str = "sha256") -> str:
    """The digest of a file's bytes, as hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, algorithm).hexdigest()


def file_sha256(path: Path) -> str:
    """SHA-256 of a file's bytes; computed again only when the file has changed."""
    status = path.stat()
    return _file_sha256(path.absolute(), (status.st_size, status.st_mtime_ns))


@lru_cache(maxsize=64)
def _file_sha256(path: Path, version: tuple[int, int]) -> str:  # noqa: ARG001
    return file_digest(path)


AssetOverrides = tuple[tuple[str, "Path"], ...]
"""(name, place) pairs, sorted: can be a key of a cache."""

_current: ContextVar[AssetOverrides] = ContextVar("provided", default=())


def override_assets(files: Mapping[str, Path]) -> None:
    """From now on, in this context, these files are found under these names.

    Args:
        files: Place of each file or folder, by the name that a configuration or a
            family has for it; replaces what was provided before.
    """
    _current.set(tuple(sorted(files.items())))


def asset_overrides() -> AssetOverrides:
    """All that is provided in this context."""
    return _current.get()


def override_of(name: str) -> Path | None:
    """Where the file or folder of this name is, if it was provided."""
    return next((path for known, path in _current.get() if known == name), None)
