"""Loggers: readable lines on the terminal, and in a file where there is a folder."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Final

from mlpeft.reporting.log_lines import file_handler
from mlpeft.reporting.terminal import printable, progress_console

LINE: Final = "%(asctime)s %(levelname)-7s %(name)s: %(message)s"


def setup_logger(
    name: str, log_dir: str | Path | None = None, level: str = "INFO"
) -> logging.Logger:
    """A logger that prints to standard error, and writes `log_dir/name.log` too.

    Calling it again changes folder and level, and doubles nothing.

    Args:
        name: The logger's name, as in `logging.getLogger`.
        log_dir: Folder of the log file, made if it is not there; None: no file.
        level: Least severe level that is logged: DEBUG, INFO, WARNING or ERROR.

    Raises:
        ValueError: If there is no such level.
    """
    logger = logging.getLogger(name)
    logger.setLevel(level.upper())
    # Else a line would be printed once more by each ancestor that was set up.
    logger.propagate = False
    for handler in [h for h in logger.handlers if isinstance(h, _Ours)]:
        logger.removeHandler(handler)
        handler.close()
    _attach(logger, _TerminalHandler(), "%H:%M:%S")
    if log_dir is not None:
        folder = Path(log_dir)
        folder.mkdir(parents=True, exist_ok=True)
        _attach(logger, _FileHandler(folder / f"{name}.log"), "%Y-%m-%d %H:%M:%S")
    return logger


def log_to_file(name: str, path: Path, **context: str) -> None:
    """Let a logger that was set up write JSON lines to a file too; see `log_lines`.

    Args:
        name: The logger's name.
        path: The file; its folder is made if it is not there.
        context: What all lines are about: keys of `log_lines.CONTEXT`.

    Raises:
        OSError: If the file cannot be written.
    """
    logging.getLogger(name).addHandler(file_handler(path, **context))


class _Ours(logging.Handler):
    """Marks the handlers that `setup_logger` may take away again."""


class _TerminalHandler(_Ours):
    """Prints above the progress line, without wrapping or markup."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            line = printable(self.format(record))
            progress_console().print(line, markup=False, soft_wrap=True)
        except Exception:  # noqa: BLE001 - logging must not end the run
            self.handleError(record)


class _FileHandler(logging.FileHandler, _Ours):
    def __init__(self, path: Path) -> None:
        super().__init__(path, encoding="utf-8", delay=True)


def _attach(logger: logging.Logger, handler: logging.Handler, times: str) -> None:
    handler.setFormatter(logging.Formatter(LINE, times))
    logger.addHandler(handler)
