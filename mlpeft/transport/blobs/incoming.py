"""A blob on its way into the cache: written, hashed, and put into its place."""

from __future__ import annotations

import hashlib
import os
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


class Incoming:
    """A blob on its way into the cache.

    Args:
        file: Its part, locked, to which bytes are appended.
        part: Where that is.
        target: Where the whole blob goes.
    """

    def __init__(self, file: IO[bytes], part: Path, target: Path) -> None:
        self._file = file
        self._part = part
        self._target = target
        self._digest = hashlib.sha256()
        self.size_bytes = 0
        """Bytes that are there."""

    def read_kept(self, most: int) -> int:
        """Take in what an earlier transfer left, up to so many bytes; how many."""
        if self._part.stat().st_size > most:
            self.restart()
        self._file.seek(0)
        while block := self._file.read(1 << 20):
            self._digest.update(block)
            self.size_bytes += len(block)
        return self.size_bytes

    def restart(self) -> None:
        """Drop what is there."""
        self._file.truncate(0)
        self._digest = hashlib.sha256()
        self.size_bytes = 0

    def write(self, data: bytes) -> None:
        """Append bytes."""
        self._file.write(data)
        self._digest.update(data)
        self.size_bytes += len(data)

    def finish(self, sha256: str) -> Path | None:
        """Put the blob into its place; None, and nothing is kept, if it is another."""
        self._file.flush()
        if self._digest.hexdigest() != sha256:
            self.restart()
            return None
        os.fsync(self._file.fileno())
        self._part.replace(self._target)
        return self._target
