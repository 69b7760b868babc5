"""Progress on standard error: a bar on a terminal, now and then a line elsewhere."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
)

from mlpeft.reporting.pace import Pace, clock_time
from mlpeft.reporting.terminal import progress_console

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

LINE_S: Final = 10.0
"""Seconds between lines where there is no terminal."""


@contextmanager
def progress_bar(
    title: str, total: int, unit: str, *, quiet: bool = False
) -> Iterator[Callable[[int], None]]:
    """A bar, or lines, that take the number done.

    Args:
        title: What is under way, as a word.
        total: The number when all is done.
        unit: What is counted.
        quiet: Show nothing.
    """
    console = progress_console()
    if quiet or not console.is_terminal:
        yield (lambda _: None) if quiet else lines(title, total, unit, console.print)
        return
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn(unit),
        TimeRemainingColumn(),
        console=console,
        transient=True,
    )
    with bar:
        task = bar.add_task(title, total=total)
        yield lambda done: bar.update(task, completed=done)


def lines(
    title: str,
    total: int,
    unit: str,
    say: Callable[[str], None],
    clock: Callable[[], float] = time.monotonic,
) -> Callable[[int], None]:
    """What takes the number done and says it in a line every `LINE_S` seconds."""
    said = clock()
    pace = Pace(0, said)

    def advance(done: int) -> None:
        nonlocal said
        now = clock()
        pace.mark(done, now)
        if now - said >= LINE_S and done < total:
            said = now
            left = clock_time(pace.seconds_left(total))
            say(f"{title}: {done}/{total} {unit}, {left} left")

    return advance
