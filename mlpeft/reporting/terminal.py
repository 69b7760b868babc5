"""The console that progress and logs share, so that lines do not mix."""

from __future__ import annotations

import contextlib
import functools
import os
from typing import Any

from rich.console import Console


class LossyConsole(Console):
    """Falls silent, where rich ends the thread, when nobody reads any more."""

    def on_broken_pipe(self) -> None:
        """Print no more."""
        self.quiet = True

    def print(self, *objects: Any, **options: Any) -> None:
        """Print, unless the stream is closed or its disk is full."""
        with contextlib.suppress(OSError, ValueError):
            super().print(*objects, **options)


@functools.cache
def progress_console() -> Console:
    """The console on standard error; results go to standard output."""
    return LossyConsole(stderr=True, highlight=False)


def is_interactive(console: Console) -> bool:
    """Whether lines may be redrawn: a terminal, and neither NO_COLOR nor CI is set."""
    quiet = os.environ.get("NO_COLOR") or os.environ.get("CI")
    return console.is_terminal and not quiet


def printable(text: str) -> str:
    """Replace control characters, such as escape codes, with "?".

    Text from a worker, its name included, is untrusted.
    """
    return "".join(c if c.isprintable() or c in "\n\t" else "?" for c in text)
