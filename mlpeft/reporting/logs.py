"""Sets up loggers: readable lines on the terminal and in a file."""

from __future__ import annotations

import contextlib
import logging
from pathlib import Path
from typing import Final

from mlpeft.reporting.log_lines import ReportsOnce, file_handler
from mlpeft.reporting.terminal import printable, progress_console

LINE: Final = "%(asctime)s %(levelname)-7s %(name)s: %(message)s"


def setup_logger(
    name: str, log_dir: str | Path | None = None, level: str = "INFO"
) -> logging.Logger:
    """Set up a logger that writes to standard error and to `log_dir/name.log`.

    A second call replaces folder and level; lines are not duplicated.

    Args:
        name: The logger's name, as in `logging.getLogger`.
        log_dir: Folder of the log file, created if missing; None: no file.
        level: Lowest level to log: DEBUG, INFO, WARNING or ERROR.

    Raises:
        ValueError: If the level is unknown.
    """
    logger = logging.getLogger(name)
    logger.setLevel(level.upper())
    # Otherwise every configured ancestor would print the line again.
    logger.propagate = False
    for handler in [h for h in logger.handlers if isinstance(h, _OwnHandler)]:
        logger.removeHandler(handler)
        handler.close()
    _attach(logger, _TerminalHandler(), "%H:%M:%S")
    if log_dir is not None:
        folder = Path(log_dir)
        folder.mkdir(parents=True, exist_ok=True)
        _attach(logger, _FileHandler(folder / f"{name}.log"), "%Y-%m-%d %H:%M:%S")
    return logger


def log_to_file(name: str, path: Path, **context: str) -> None:
    """Make a logger also write JSON lines to a file; see `log_lines`.

    Args:
        name: The logger's name.
        path: The file; its folder is created if missing.
        context: Values of `log_lines.CONTEXT` keys for all lines.

    Raises:
        OSError: If the file cannot be written.
    """
    logging.getLogger(name).addHandler(file_handler(path, **context))


class _OwnHandler(logging.Handler):
    """Marks the handlers that `setup_logger` may replace."""


class _TerminalHandler(_OwnHandler):
    """Prints above the progress line, without wrapping or markup."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            line = printable(self.format(record))
            progress_console().print(line, markup=False, soft_wrap=True)
        except Exception:  # noqa: BLE001 - logging must not end the run
            with contextlib.suppress(ValueError):  # standard error is closed
                self.handleError(record)


class _FileHandler(ReportsOnce, _OwnHandler):
    def __init__(self, path: Path) -> None:
        super().__init__(path, encoding="utf-8", delay=True)


def _attach(logger: logging.Logger, handler: logging.Handler, date_format: str) -> None:
    handler.setFormatter(logging.Formatter(LINE, date_format))
    logger.addHandler(handler)
