"""Log lines of the coordinator and the worker."""

from __future__ import annotations

import logging

import typer


class EchoHandler(logging.Handler):
    """Prints on whatever standard error is now: a progress line redirects it."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print one record."""
        typer.echo(self.format(record), err=True)


def log_to_terminal(level: str = "INFO") -> None:
    """Show the log on standard error, a line a record with its time."""
    handler = EchoHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%H:%M:%S"))
    root = logging.getLogger("mlpeft")
    root.handlers[:] = [handler]
    root.setLevel(level)
    root.propagate = False
