"""The terminal that progress and logs share, so that no line breaks another."""

from __future__ import annotations

import functools
import os

from rich.console import Console


@functools.cache
def progress_console() -> Console:
    """Standard error: what is going on. Results go to standard output."""
    return Console(stderr=True, highlight=False)


def is_interactive(console: Console) -> bool:
    """Whether lines may be redrawn: a terminal, and neither NO_COLOR nor CI is set."""
    quiet = os.environ.get("NO_COLOR") or os.environ.get("CI")
    return console.is_terminal and not quiet


def printable(text: str) -> str:
    """The text with "?" for whatever would steer a terminal, such as escape codes.

    What a worker says, its name too, may come from anybody who has got in.
    """
    return "".join(c if c.isprintable() or c in "\n\t" else "?" for c in text)
