"""Standard streams whose other end may go away: a closed pipe, terminal or disk.

`mlpeft-coordinator ... 2>&1 | head` closes the pipe after ten lines and a closed window
takes its terminal away. Messages are then for nobody, and a write that raises would end
the thread that logs.
"""

from __future__ import annotations

import errno
import io
import os
import sys
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

STDOUT: Final = 1
STDERR: Final = 2
NOBODY_READS: Final = (errno.EPIPE, errno.EIO)
"""Errors of a write whose pipe or terminal has been closed."""


class _LossyFile(io.FileIO):
    """Drops what cannot be written."""

    def write(self, data: ReadableBuffer, /) -> int:
        size = memoryview(data).nbytes
        try:
            written = super().write(data)
        except OSError:
            return size
        # None: the descriptor would block. Waiting here could stop the event loop.
        return size if written is None else written


def lossy(stream: io.TextIOWrapper) -> io.TextIOWrapper:
    """A text stream on the same descriptor whose writes never raise OSError.

    Args:
        stream: An open stream with a descriptor, which stays open.
    """
    raw = _LossyFile(stream.fileno(), "w", closefd=False)
    return io.TextIOWrapper(
        io.BufferedWriter(raw),
        encoding=stream.encoding,
        errors=stream.errors,
        line_buffering=True,
        write_through=True,
    )


def protect_stderr() -> None:
    """Let no write to this process's standard error raise, from now on.

    Does nothing where somebody else has replaced `sys.stderr`, such as a test.
    """
    stream = sys.stderr
    if isinstance(stream, io.TextIOWrapper) and stream is sys.__stderr__:
        sys.stderr = lossy(stream)


def discard_stdout() -> None:
    """Send the rest of standard output nowhere: its reader has gone.

    Otherwise the interpreter would try to flush it at its end, and fail.
    """
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, STDOUT)
    os.close(nowhere)
