"""Progress in a notebook: one bar that is redrawn in place.

`rich` would need ipywidgets for that; a display that is updated needs nothing.
"""

from __future__ import annotations

import contextlib
import sys
import time
from typing import TYPE_CHECKING, Any, Final

from mlpeft.charts.svg import element
from mlpeft.reporting.console import ConsoleReporter

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from mlpeft.config import RunConfig

REDRAW_S: Final = 0.5
"""Seconds between redraws: each is a message that the notebook keeps for a moment."""


def in_notebook() -> bool:
    """Whether this process is the kernel of a notebook."""
    ipython = sys.modules.get("IPython")
    if ipython is None:
        return False
    shell = ipython.get_ipython()
    return shell is not None and getattr(shell, "kernel", None) is not None


class NotebookBar:
    """A bar with a title and details.

    Args:
        title: What is under way.
        total: The number when all is done.
    """

    def __init__(self, title: str, total: int) -> None:
        self._title = title
        self._total = total
        self._handle: Any = None

    def show(self, done: int, details: str = "") -> None:
        """Draw it, or draw it anew.

        Args:
            done: The number done.
            details: What stands behind it.
        """
        from IPython.display import display

        count = f"{done:,}/{self._total:,}"
        bar = element("progress", value=done, max=self._total, aria_label=self._title)
        data = {
            "text/html": str(
                element("div", f"{self._title} ", bar, f" {count} {details}")
            ),
            "text/plain": f"{self._title} {count} {details}".rstrip(),
        }
        if self._handle is None:
            self._handle = display(data, raw=True, display_id=True)
        else:
            self._handle.update(data, raw=True)


class NotebookReporter(ConsoleReporter):
    """What `ConsoleReporter` says, in one bar.

    Args:
        clock: Monotonic time in seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(clock=clock)
        self._bar: NotebookBar | None = None

    def start(self, config: RunConfig, run_dir: Path, first_iteration: int) -> None:
        """Show the bar."""
        self._begin(config, first_iteration)
        self._bar = NotebookBar(config.run.name, self._total)
        self._show()

    def message(self, text: str) -> None:
        """Print a line below the bar."""
        print(text)  # noqa: T201 - the notebook's output

    def _draw(self) -> None:
        if self._bar is not None:
            self._bar.show(self._iteration, self._details())

    def _gap_s(self) -> float:
        return REDRAW_S


def notebook_progress(title: str, total: int) -> Callable[[int], None] | None:
    """What takes the number done and shows it as a bar; None outside a notebook.

    Args:
        title: What is under way.
        total: The number when all is done.
    """
    if not in_notebook():
        return None
    bar = NotebookBar(title, total)
    shown_at = float("-inf")

    def advance(done: int) -> None:
        nonlocal shown_at
        now = time.monotonic()
        if done >= total or now >= shown_at + REDRAW_S:
            shown_at = now
            with contextlib.suppress(OSError):
                bar.show(done)

    return advance
