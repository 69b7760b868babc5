"""Digests of files, so that everyone computes on the same data."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


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
