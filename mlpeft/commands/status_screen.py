"""`mlpeft status --watch` on a terminal: the dashboard's picture, as a full screen."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from rich import box
from rich.console import Group
from rich.padding import Padding
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from mlpeft.dashboard import attention
from mlpeft.dashboard.attention import LOST_S, Level
from mlpeft.files import size_text
from mlpeft.reporting.pace import clock_time, speed
from mlpeft.reporting.terminal import printable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rich.console import RenderableType

    from mlpeft.cluster.overview import Overview
    from mlpeft.cluster.protocol import WorkerId
    from mlpeft.cluster.status import WorkerStatus
    from mlpeft.dashboard.attention import Attention
    from mlpeft.dashboard.sampling import ClusterHistory
    from mlpeft.dashboard.timeline import Bar

MARKS: Final = {
    Level.PROBLEM: ("!", "bold red"),
    Level.WARNING: ("!", "yellow"),
    Level.NOTICE: ("•", "yellow"),
    Level.BUSY: ("▶", "cyan"),
    Level.IDLE: ("·", "dim"),
}
WINDOW_S: Final = 60.0
"""What the lanes show."""
LANES_WIDTH: Final = 96
"""Columns of a terminal from which on there are lanes."""
BAD: Final = frozenset({"refused", "failed", "lost"})
FIXED_LINES: Final = 9
"""Lines of the screen beside the workers'."""


def screen(
    history: ClusterHistory, width: int, height: int, now: float, gone: str = ""
) -> RenderableType:
    """The whole screen.

    Args:
        history: What was seen so far, with at least one snapshot.
        width: Columns of the terminal.
        height: Its lines.
        now: Unix time.
        gone: Why there is no newer snapshot; "" if there is.
    """
    overview = history.last
    if overview is None:
        raise AssertionError
    parts: list[RenderableType] = [_headline(overview, width), _bar(overview, width)]
    if gone:
        text = f"{gone}; this was seen last"
        parts.append(Text(printable(text), style="bold red"))
    question = Text(printable(attention.question(overview.cluster)))
    question.truncate(max(20, 2 * width - 2), overflow="ellipsis")
    parts += [question, _workers(history, overview, width, height, now)]
    parts += _departures(history, now)
    parts.append(_sums(overview))
    return Group(*parts)


def _headline(overview: Overview, width: int) -> Text:
    progress = overview.progress
    state = "running"
    if overview.stopping:
        state = "stopping after this round"
    elif overview.cluster.paused:
        state = f"paused ({overview.cluster.paused})"
    words = [f"mlpeft  {overview.run}", state]
    if progress.iterations:
        words += [
            f"{progress.iteration:,}/{progress.iterations:,}",
            speed(progress.per_second),
            f"{clock_time(progress.seconds_left)} left",
        ]
    if progress.validation:
        words.append(f"validation after {progress.validation}")
    text = Text(printable("   ".join(words)), style="bold", no_wrap=True)
    text.truncate(width, overflow="ellipsis")
    return text


def _bar(overview: Overview, width: int) -> RenderableType:
    progress = overview.progress
    bar = ProgressBar(
        total=max(progress.iterations, 1),
        completed=progress.iteration,
        width=width,
        complete_style="cyan",
    )
    return Padding(bar, 0)  # which ends the line


def _workers(
    history: ClusterHistory, overview: Overview, width: int, height: int, now: float
) -> RenderableType:
    """A line for each worker, sorted by what needs attention."""
    cluster = overview.cluster
    backups = attention.backups_of(cluster)
    found = {
        worker.worker: attention.assess(
            worker,
            [lease for lease in cluster.leases if lease.worker_id == worker.worker],
            backups,
            cluster,
            LOST_S,
        )
        for worker in cluster.workers
    }
    ordered = sorted(cluster.workers, key=lambda w: (-found[w.worker].level, w.name))
    room = max(3, height - FIXED_LINES)
    shown = ordered if len(ordered) <= room else ordered[: room - 1]
    lanes = width >= LANES_WIDTH
    columns = min(60, width - 66) if lanes else 0
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, expand=True)
    table.add_column("", no_wrap=True, width=1)
    table.add_column("worker", no_wrap=True, max_width=20)
    table.add_column("done", justify="right", no_wrap=True)
    table.add_column("failed", justify="right", no_wrap=True)
    table.add_column("why", ratio=1, no_wrap=True)
    if lanes:
        table.add_column(f"last {WINDOW_S:.0f} s", no_wrap=True, width=columns)
    bars = _bars_of(history, now)
    for worker in shown:
        lane = _lane(bars.get(worker.worker, ()), columns, now)
        table.add_row(*_row(worker, found[worker.worker]), *([lane] if lanes else []))
    if len(shown) < len(ordered):
        rest = Text(f"and {len(ordered) - len(shown)} workers more", "dim")
        table.add_row("", "", "", "", rest)
    return table


def _row(worker: WorkerStatus, found: Attention) -> list[Text]:
    mark, style = MARKS[found.level]
    why = style if found.level >= Level.NOTICE else "dim"
    return [
        Text(mark, style=style),
        Text(printable(worker.name)),
        Text(f"{worker.shards_done:,}"),
        Text(str(worker.failures), style="red" if worker.failures else "dim"),
        Text(printable(found.reason), style=why),
    ]


def _bars_of(history: ClusterHistory, now: float) -> Mapping[WorkerId, list[Bar]]:
    bars: dict[WorkerId, list[Bar]] = {}
    for bar in (*history.timeline.closed, *history.timeline.open.values()):
        if (bar.end or now) >= now - WINDOW_S:
            bars.setdefault(bar.worker, []).append(bar)
    return bars


def _lane(bars: Sequence[Bar], columns: int, now: float) -> Text:
    """A worker's shards on a line: adapting, sending, backup, failed."""
    cells = [("·", "dim")] * columns
    per_s = columns / WINDOW_S
    for bar in bars:
        start = max(0, int((bar.start - now + WINDOW_S) * per_s))
        end = max(start, int(((bar.end or now) - now + WINDOW_S) * per_s))
        sending = end + 1
        if bar.sending is not None:
            sending = int((bar.sending - now + WINDOW_S) * per_s)
        cell = ("█", "blue")
        if bar.outcome in BAD:
            cell = ("x", "red")
        elif bar.backup:
            cell = ("▓", "magenta")
        for column in range(start, min(end + 1, columns)):
            cells[column] = cell if column < sending else ("▒", "yellow")
    return Text.assemble(*cells)


def _departures(history: ClusterHistory, now: float) -> list[RenderableType]:
    newest = list(history.departures)[-2:]
    return [
        Text(
            printable(f"{d.name} left {clock_time(now - d.time)} ago: {d.reason}"),
            style="dim",
        )
        for d in reversed(newest)
    ]


def _sums(overview: Overview) -> Text:
    cluster, moved = overview.cluster, overview.bytes_moved
    failed = sum(cluster.failures.values())
    return Text(
        f"{len(cluster.workers)} connected   {cluster.counted:,} shards done, {failed} "
        f"done again, {cluster.backups} backups, {cluster.refused} refused   "
        f"{size_text(moved.up)} up, {size_text(moved.down)} down   Ctrl-C ends",
        style="dim",
    )
