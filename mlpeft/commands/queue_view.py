"""How `mlpeft queue list` looks: for people a table, for scripts a dict."""

from __future__ import annotations

import time
from textwrap import shorten
from typing import TYPE_CHECKING

from rich.markup import escape
from rich.table import Table

from mlpeft.queue.searching import best_validation
from mlpeft.reporting.pace import clock_time
from mlpeft.training.checkpoint import step_folders

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mlpeft.queue.entry import QueuedRun

MOST_NOTE = 160
"""Characters of a note in the table; --json has all."""
_COLOURS = {
    "running": "cyan",
    "interrupted": "yellow",
    "done": "green",
    "stopped": "yellow",
    "failed": "red",
}


def record(run: QueuedRun) -> dict[str, object]:
    """The run for scripts: plain values."""
    return run.to_dict() | {"iteration": _iteration(run)}


def _iteration(run: QueuedRun) -> int:
    """Meta-iterations that are saved."""
    folders = step_folders(run.run_dir)
    return int(folders[-1].name) if folders else 0


def table(runs: Sequence[QueuedRun]) -> Table:
    """The runs for people, a row each."""
    searched = any(run.search is not None for run in runs)
    shown = Table("#", "run", "state", "saved", "time", "note")
    if searched:
        shown.add_column("validation")
    shown.columns[0].justify = shown.columns[3].justify = "right"
    for run in runs:
        colour = _COLOURS.get(run.state, "default")
        shown.add_row(
            str(run.number),
            escape(run.name),
            f"[{colour}]{run.state}[/]",
            f"{_iteration(run):,}/{run.iterations:,}",
            _time(run),
            escape(shorten(run.reason or run.setting, MOST_NOTE, placeholder=" ...")),
            *([_validation(run)] if searched else []),
        )
    return shown


def _validation(run: QueuedRun) -> str:
    best = best_validation(run.run_dir)
    return "" if best is None else best.final


def _time(run: QueuedRun) -> str:
    if run.began is None:
        return ""
    if run.ended is None and run.state != "running":
        return ""
    return clock_time((run.ended or time.time()) - run.began)
