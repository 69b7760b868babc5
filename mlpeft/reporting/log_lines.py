"""The log as a file of JSON lines: writing it, and reading it back.

    {"time": 1764000000.0, "level": "WARNING", "logger": "mlpeft.coordinator",
     "text": "worker ada left: it ended", "run": "digits", "worker": "ada"}

`time` is in seconds since 1970, as in metrics.jsonl. `time`, `level`, `logger` and
`text` are always there; what a line is about, where it is about something, is in the
keys of `CONTEXT`. Code says it as `log.info(text, extra={"worker": name})`.
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

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path


CONTEXT: Final = ("run", "iteration", "round", "shard", "attempt", "worker")
"""What a line may be about."""
MOST_BYTES: Final = 8 << 20
"""Size at which a log file is put aside and another begun."""
OLD_FILES: Final = 4
"""Files put aside that are kept: FILE.1 is the newest."""


@dataclass(frozen=True, slots=True)
class LogLine:
    """One line of a log.

    Attributes:
        time: Seconds since 1970.
        level: DEBUG, INFO, WARNING, ERROR or CRITICAL.
        logger: Who said it.
        text: What was said.
        context: What it is about: some of the keys of `CONTEXT`.
    """

    time: float
    level: str
    logger: str
    text: str
    context: Mapping[str, Any] = field(default_factory=dict)

    @property
    def severity(self) -> int:
        """The level as a number that grows with what it matters."""
        return logging.getLevelNamesMapping().get(self.level, logging.INFO)


class JsonFormatter(logging.Formatter):
    """One JSON object a record.

    Args:
        context: What all records are about, such as the run.
    """

    def __init__(self, **context: str) -> None:
        super().__init__()
        self._context = context

    def format(self, record: logging.LogRecord) -> str:
        """The record as a line, without its end."""
        text = record.getMessage()
        if record.exc_info:
            text += f"\n{self.formatException(record.exc_info)}"
        about = {
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
        return json.dumps(line | about, ensure_ascii=False, default=str)


class LogFile(logging.handlers.RotatingFileHandler):
    """Never ends a run: says once on standard error that it cannot write."""

    _said = False

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - logging's
        """Take note of an error while a record was written."""
        error = sys.exc_info()[1]
        if not isinstance(error, OSError):
            super().handleError(record)
        elif not self._said:
            self._said = True
            text = (
                f"cannot write {self.baseFilename} ({error.strerror}); lines are lost"
            )
            sys.stderr.write(text + "\n")

    def close(self) -> None:
        """Let go of the file, also of one that cannot be written."""
        with contextlib.suppress(OSError):
            super().close()


def file_handler(path: Path, **context: str) -> logging.Handler:
    """A handler that appends JSON lines to a file, which it opens at the first.

    A file that has grown to `MOST_BYTES` is put aside, and old ones are removed, so
    that a run of weeks fills no disk.

    Args:
        path: The file.
        context: What all lines are about: keys of `CONTEXT`.

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
    """All lines that a log still has, those of files put aside first.

    Raises:
        FileNotFoundError: If there is no such file.
    """
    for line in follow_log(path):
        if line is None:
            return
        yield line


def follow_log(path: Path) -> Iterator[LogLine | None]:
    """All lines of a log, and those that are added, without end.

    Where the file is put aside or removed, it goes on with the one that takes its
    place. What is no line, such as the half that a kill -9 leaves, is passed over.

    Args:
        path: The file.

    Yields:
        Lines; None whenever there is nothing more just now.

    Raises:
        FileNotFoundError: If there is no such file at the start.
    """
    for old in range(OLD_FILES, 0, -1):
        aside = path.with_name(f"{path.name}.{old}")
        if aside.exists():
            yield from filter(None, map(_parse, aside.read_bytes().splitlines()))
    file = path.open("rb")
    try:
        half = b""
        while True:
            half += file.readline()
            if half.endswith(b"\n"):
                line, half = _parse(half), b""
                if line is not None:
                    yield line
            elif _replaced(path, file):
                file.close()
                file, half = path.open("rb"), b""
            else:
                yield None
    finally:
        file.close()


def _replaced(path: Path, file: IO[bytes]) -> bool:
    """Whether the file of this name is another one, or was emptied."""
    here = os.fstat(file.fileno())
    try:
        there = path.stat()
    except FileNotFoundError:
        return False
    return here.st_ino != there.st_ino or there.st_size < file.tell()


def _parse(text: bytes) -> LogLine | None:
    """A line; None for anything else, such as the half that a kill -9 left."""
    try:
        record = json.loads(text)
        return LogLine(
            float(record["time"]),
            str(record["level"]),
            str(record["logger"]),
            str(record["text"]),
            {key: record[key] for key in CONTEXT if key in record},
        )
    except (ValueError, KeyError, TypeError):
        return None
