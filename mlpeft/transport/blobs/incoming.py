"""A blob being received into the cache."""

from __future__ import annotations

import hashlib
import os
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


class Incoming:
    """Writes and hashes a blob, then moves it into place.

    Args:
        file: The locked partial file, opened for appending.
        part: Its path.
        target: Path of the complete blob.
    """

    def __init__(self, file: IO[bytes], part: Path, target: Path) -> None:
        self._file = file
        self._part = part
        self._target = target
        self._digest = hashlib.sha256()
        self.size_bytes = 0
        """Bytes received so far."""

    def resume(self, size_bytes: int) -> int:
        """Hash what an earlier transfer left of a blob of this size; how many bytes."""
        if self._part.stat().st_size > size_bytes:
            self.restart()
        self._file.seek(0)
        while block := self._file.read(1 << 20):
            self._digest.update(block)
            self.size_bytes += len(block)
        return self.size_bytes

    def restart(self) -> None:
        """Discard the bytes received so far."""
        self._file.truncate(0)
        self._digest = hashlib.sha256()
        self.size_bytes = 0

    def write(self, data: bytes) -> None:
        """Append bytes."""
        self._file.write(data)
        self._digest.update(data)
        self.size_bytes += len(data)

    def finish(self, sha256: str) -> Path | None:
        """Move the blob into place; discard it and return None on a wrong digest."""
        self._file.flush()
        if self._digest.hexdigest() != sha256:
            self.restart()
            return None
        os.fsync(self._file.fileno())
        self._part.replace(self._target)
        return self._target
