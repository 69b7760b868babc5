"""Standard streams whose other end may go away, or may not know our characters.

`mlpeft-coordinator ... 2>&1 | head` closes the pipe after ten lines, and a closed
window takes its terminal away. Messages are then for nobody, and a write that raises
would end the thread that logs. A terminal for ASCII (LANG=C in a container, an old ssh)
gets other characters spelled out, in place of an error after all the work.
"""

from __future__ import annotations

import codecs
import errno
import io
import os
import sys
import unicodedata
from typing import TYPE_CHECKING, Final

from mlpeft.errors import DataError

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

STDOUT: Final = 1
STDERR: Final = 2
NOBODY_READS: Final = (errno.EPIPE, errno.EIO)
"""Errors of a write whose pipe or terminal has been closed."""
SPELLED: Final = "mlpeft.spelled"
"""Name of the error handler that spells out what an encoding lacks."""
_SPELLINGS: Final = {
    "\N{PLUS-MINUS SIGN}": "+/-",
    "\N{EN DASH}": "-",
    "\N{EM DASH}": "-",
    "\N{RIGHTWARDS ARROW}": "->",
    "\N{MULTIPLICATION SIGN}": "x",
    "\N{LEFT SINGLE QUOTATION MARK}": "'",
    "\N{RIGHT SINGLE QUOTATION MARK}": "'",
    "\N{LEFT DOUBLE QUOTATION MARK}": '"',
    "\N{RIGHT DOUBLE QUOTATION MARK}": '"',
    "\N{LATIN SMALL LETTER SHARP S}": "ss",
}


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


def spelled(text: str, encoding: str) -> str:
    """A text with what an encoding lacks spelled out: `±` as `+/-`, `é` as `e`.

    What has no spelling becomes `?`.

    Args:
        text: Any text, lone surrogates included.
        encoding: Of the stream that it goes to.
    """
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        return text.encode(encoding, SPELLED).decode(encoding)
    return text


def _spell(error: UnicodeError) -> tuple[str, int]:
    """The handler behind `SPELLED`, as `codecs.register_error` wants it."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    lacking = error.object[error.start : error.end]
    return "".join(map(_spelling, lacking)), error.end


def _spelling(character: str) -> str:
    known = _SPELLINGS.get(character)
    if known is not None:
        return known
    parts = unicodedata.normalize("NFKD", character)
    plain = "".join(part for part in parts if part.isascii() and part.isprintable())
    return plain or ("" if unicodedata.combining(character) else "?")


codecs.register_error(SPELLED, _spell)


def lines_of_stdin() -> list[str] | None:
    """The lines of standard input, which are UTF-8 whatever the locale says.

    Returns:
        The lines without their ends; None if nothing is piped in.

    Raises:
        DataError: If one is not UTF-8.
    """
    stream = sys.stdin
    if stream is None or stream.isatty():
        return None
    lines = []
    for number, line in enumerate(stream.buffer, 1):
        try:
            lines.append(line.decode("utf-8-sig" if number == 1 else "utf-8"))
        except UnicodeDecodeError as error:
            raise DataError(
                f"line {number} of standard input is not UTF-8; convert it, for "
                "example with iconv -f LATIN1 -t UTF-8"
            ) from error
    return [line.rstrip("\r\n") for line in lines]


def argument_text(argument: str) -> str:
    """A text of the command line, which is UTF-8 whatever the locale says."""
    return os.fsencode(argument).decode("utf-8", "replace")


def protect_streams() -> None:
    """Let no character, and no reader that goes, make standard streams raise.

    The exception is a closed standard output: results that nobody gets are an error.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=SPELLED)
    _protect_stderr()


def _protect_stderr() -> None:
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
