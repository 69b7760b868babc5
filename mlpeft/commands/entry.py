"""What all our command lines end with: one clear message for what went wrong."""

from __future__ import annotations

import errno
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from mlpeft.errors import MlpeftError
from mlpeft.launch import INTERRUPTED
from mlpeft.platform.streams import NOBODY_READS, discard_stdout, protect_streams

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

FAILED = 2
"""Exit code of a command that could not do what it was asked."""


def run(app: Callable[[], object]) -> None:
    """Run a command; an expected error is one clear message and exit code 2."""
    protect_streams()
    try:
        app()
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    except MlpeftError as error:
        _end(str(error))
    except OSError as error:
        _end(text_of(error))
    except MemoryError as error:
        _end(
            f"not enough memory ({str(error) or 'no more than that is known'}); lower "
            "the sizes in the configuration, or take a machine with more"
        )


def again(command: str, config: Path, overrides: Iterable[str] | None) -> str:
    """The command line that goes on with a run, as one types it into a shell."""
    changes = [word for text in overrides or () for word in ("--set", text)]
    words = ["--config", str(config), *changes, "--resume"]
    return f"{command} {shlex.join(words)}"


def say_last(text: str) -> None:
    """Print a command's last line, if anybody still reads: the exit code says it too.

    Raises:
        OSError: If it is to go to a file and cannot be written.
    """
    try:
        typer.echo(text)
    except OSError as error:
        if error.errno not in NOBODY_READS:
            raise
        discard_stdout()


def text_of(error: OSError) -> str:
    """Our own text, or what the system refused, and where."""
    if error.errno == errno.ENOENT and not _has_working_folder():
        return (
            "the folder that this command was started in has been removed; change to "
            "another one, and start it again"
        )
    if error.errno is None or error.filename is None:
        return str(error)
    return (
        f"{error.filename}: {(error.strerror or 'failed').lower()}; give a path that "
        "exists and that you may use"
    )


def _has_working_folder() -> bool:
    try:
        Path.cwd()
    except FileNotFoundError:
        return False
    return True


def _end(text: str) -> None:
    from mlpeft.reporting.terminal import printable  # rich is slow to import

    typer.secho(f"error: {printable(text)}", err=True, fg="red")
    sys.exit(FAILED)
