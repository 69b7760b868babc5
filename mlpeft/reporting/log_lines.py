"""Log files of JSON lines: writes and reads them.

    {"time": 1764000000.0, "level": "WARNING", "logger": "mlpeft.coordinator",
     "text": "worker ada left: it ended", "run": "digits", "worker": "ada"}

`time` is Unix time in seconds, as in metrics.jsonl. `time`, `level`, `logger` and
`text` are always present. The keys of `CONTEXT` say what a line is about; code sets
them with `log.info(text, extra={"worker": name})`.
"""

from __future__ import annotations

import contextlib
import json
import logging
import logging.handlers
import os
import sys
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING, Any, Final

from mlpeft.files import parse_json

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path


CONTEXT: Final = ("run", "iteration", "round", "shard", "attempt", "worker")
"""Optional keys that say what a line is about."""
MOST_BYTES: Final = 8 << 20
"""Size in bytes at which a log file is rotated."""
OLD_FILES: Final = 4
"""Number of rotated files to keep; FILE.1 is the newest."""


@dataclass(frozen=True, slots=True)
class LogLine:
    """One line of a log.

    Attributes:
        time: Unix time in seconds.
        level: DEBUG, INFO, WARNING, ERROR or CRITICAL.
        logger: Name of the logger.
        text: The message.
        context: What it is about: some of the keys of `CONTEXT`.
    """

    time: float
    level: str
    logger: str
    text: str
    context: Mapping[str, Any] = field(default_factory=dict)

    @property
    def severity(self) -> int:
        """The level as a number of `logging`; higher is more severe."""
        return logging.getLevelNamesMapping().get(self.level, logging.INFO)


class JsonFormatter(logging.Formatter):
    """Formats a record as one JSON object.

    Args:
        context: Values of `CONTEXT` keys for all records, such as the run.
    """

    def __init__(self, **context: str) -> None:
        super().__init__()
        self._context = context

    def format(self, record: logging.LogRecord) -> str:
        """The record as a line, without a newline."""
        text = record.getMessage()
        if record.exc_info:
            text += f"\n{self.formatException(record.exc_info)}"
        context = {
            key: value
            for key in CONTEXT
            if (value := getattr(record, key, self._context.get(key))) is not None
        }
        line = {
            "time": round(record.created, 6),
            "level": record.levelname,
            "logger": record.name,
            "text": text,
        }
        return json.dumps(line | context, ensure_ascii=False, default=str)


class ReportsOnce(logging.FileHandler):
    """Never ends a run: reports its first write error on standard error."""

    _reported = False

    def emit(self, record: logging.LogRecord) -> None:
        """Write a line; the file may fail to open as well."""
        try:
            super().emit(record)
        except OSError:
            self.handleError(record)

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - logging's
        """Report the first OSError of a write; ignore the others."""
        error = sys.exc_info()[1]
        with contextlib.suppress(OSError, ValueError):  # standard error may be closed
            if not isinstance(error, OSError):
                super().handleError(record)
            elif not self._reported and sys.stderr is not None:
                self._reported = True
                sys.stderr.write(
                    f"cannot write {self.baseFilename} ({error.strerror}); lines are "
                    "lost\n"
                )

    def close(self) -> None:
        """Close the file, even one that cannot be written."""
        with contextlib.suppress(OSError):
            super().close()


class LogFile(ReportsOnce, logging.handlers.RotatingFileHandler):
    """A log file that is rotated."""


def file_handler(path: Path, **context: str) -> logging.Handler:
    """A handler that appends JSON lines to a file, opened at the first line.

    It rotates the file at `MOST_BYTES` and removes old ones, so that a run of weeks
    does not fill the disk.

    Args:
        path: The file.
        context: Values of `CONTEXT` keys for all lines.

    Raises:
        OSError: If the file cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    handler = LogFile(
        path, maxBytes=MOST_BYTES, backupCount=OLD_FILES, encoding="utf-8", delay=True
    )
    handler.setFormatter(JsonFormatter(**context))
    return handler


def read_log(path: Path) -> Iterator[LogLine]:
    """Read all lines of a log, rotated files first.

    Raises:
        FileNotFoundError: If there is no such file.
    """
    for line in follow_log(path):
        if line is None:
            return
        yield line


def follow_log(path: Path) -> Iterator[LogLine | None]:
    """Read all lines of a log and follow it without end, as `tail -F` does.

    Continues with the new file after a rotation. Skips what is not a log line, such as
    the partial line that a kill -9 leaves.

    Args:
        path: The file.

    Yields:
        Lines; None whenever there are no more for now.

    Raises:
        FileNotFoundError: If there is no such file at the start.
    """
    for old in range(OLD_FILES, 0, -1):
        rotated = path.with_name(f"{path.name}.{old}")
        if rotated.exists():
            yield from filter(None, map(parse_line, rotated.read_bytes().splitlines()))
    file = path.open("rb")
    try:
        partial = b""
        while True:
            partial += file.readline()
            if partial.endswith(b"\n"):
                line, partial = parse_line(partial), b""
                if line is not None:
                    yield line
            elif _replaced(path, file):
                file.close()
                file, partial = path.open("rb"), b""
            else:
                yield None
    finally:
        file.close()


def _replaced(path: Path, file: IO[bytes]) -> bool:
    """Whether the path is another file than the open one, or was truncated."""
    opened = os.fstat(file.fileno())
    try:
        current = path.stat()
    except FileNotFoundError:
        return False
    return opened.st_ino != current.st_ino or current.st_size < file.tell()


def parse_line(text: bytes) -> LogLine | None:
    """Parse a line; None if it is not a log line."""
    try:
        record = parse_json(text)
        return LogLine(
            float(record["time"]),
            str(record["level"]),
            str(record["logger"]),
            str(record["text"]),
            {key: record[key] for key in CONTEXT if key in record},
        )
    except (ValueError, KeyError, TypeError):
        return None
