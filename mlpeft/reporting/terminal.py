"""The consoles: one for results, one that progress and logs share."""

from __future__ import annotations

import contextlib
import functools
import os
from typing import TYPE_CHECKING, Any, Final

from rich.console import Console

from mlpeft.platform.streams import spelled

if TYPE_CHECKING:
    from rich.text import Text


NARROWEST: Final = 50
"""Columns that results are laid out for at least."""


class SpellingConsole(Console):
    """Spells out what its stream's encoding lacks before it lays out columns."""

    def render_str(self, text: str, **options: Any) -> Text:
        """Convert to rich's text, with what the encoding lacks spelled out."""
        return super().render_str(spelled(text, self.encoding), **options)


class LossyConsole(SpellingConsole):
    """Falls silent, where rich ends the thread, when nobody reads any more."""

    def on_broken_pipe(self) -> None:
        """Print no more."""
        self.quiet = True

    def print(self, *objects: Any, **options: Any) -> None:
        """Print, unless the stream is closed or its disk is full."""
        with contextlib.suppress(OSError, ValueError):
            super().print(*objects, **options)


def output_console(**options: Any) -> Console:
    """A console on standard output, for results.

    On a very narrow terminal lines are left for it to wrap: columns of three letters
    are not readable.

    Args:
        options: As of `rich.console.Console`.
    """
    console = SpellingConsole(**({"highlight": False} | options))
    console.width = max(console.width, NARROWEST)
    return console


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
