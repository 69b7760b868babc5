"""The end of a log, and what is added to it."""

from __future__ import annotations

import os
from collections import deque
from typing import TYPE_CHECKING, Any, Final

from mlpeft.reporting.log_lines import parse_line

if TYPE_CHECKING:
    from pathlib import Path

MOST_BYTES: Final = 256 << 10
"""What is read of a log at one look."""
MOST_LINES: Final = 400
"""Lines that are remembered, and shown."""
MOST_TEXT: Final = 600
"""Characters of a line that are shown."""


class LogTail:
    """Reads a log from near its end; a rotated file is followed.

    Args:
        path: The log; it may come into being later.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.lines: deque[dict[str, Any]] = deque(maxlen=MOST_LINES)
        """For the page: number, time, level, worker, text."""
        self.number = 0
        """Of the newest line."""
        self._inode, self._offset = 0, 0

    def read(self) -> None:
        """Read what was added since the last look."""
        try:
            file = self.path.open("rb")
        except OSError:
            return
        with file:
            state = os.fstat(file.fileno())
            if state.st_ino != self._inode or state.st_size < self._offset:
                self._inode, self._offset = state.st_ino, 0
            begin = max(self._offset, state.st_size - MOST_BYTES)
            file.seek(begin)
            content = file.read(MOST_BYTES)
        whole = content.rfind(b"\n") + 1
        if begin > self._offset:  # in the middle of a line
            content = content[content.find(b"\n") + 1 : whole]
        else:
            content = content[:whole]
        self._offset = begin + whole
        for text in content.splitlines():
            self._add(text)

    def _add(self, text: bytes) -> None:
        line = parse_line(text)
        if line is None:
            return
        self.number += 1
        self.lines.append(
            {
                "n": self.number,
                "time": line.time,
                "level": line.level,
                "worker": str(line.context.get("worker", "")),
                "text": line.text[:MOST_TEXT],
            }
        )
