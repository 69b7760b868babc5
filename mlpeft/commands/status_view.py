"""How `mlpeft status` looks: for people a few lines and a table, for scripts a dict."""

from __future__ import annotations

import re
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

from rich import box
from rich.console import Group
from rich.table import Table
from rich.text import Text

from mlpeft.cluster.coordinator import waits
from mlpeft.cluster.overview import Bytes
from mlpeft.files import size_text
from mlpeft.reporting.pace import clock_time, speed
from mlpeft.reporting.terminal import printable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rich.console import RenderableType

    from mlpeft.cluster.overview import Overview
    from mlpeft.cluster.protocol import WorkerId
    from mlpeft.cluster.status import LeaseStatus, WorkerStatus

WIDE = 100
"""Columns of a terminal from which on there is room for each worker's bytes."""

NARROW = 72
"""Columns below which what a worker computes has a line of its own."""


def record(overview: Overview) -> dict[str, Any]:
    """The overview for scripts: plain values, the keys of docs/steering.md."""
    cluster = asdict(overview.cluster)
    for worker in cluster["workers"]:
        moved = overview.bytes_by_worker.get(worker["worker"], Bytes())
        worker["bytes_moved"] = asdict(moved)
    return {
        "run": overview.run,
        "session": overview.session,
        "stopping": overview.stopping,
        "progress": asdict(overview.progress),
        "bytes_moved": asdict(overview.bytes_moved),
    } | cluster


def steady(overview: Overview) -> Overview:
    """The overview without what changes by itself: ages, speeds, bytes.

    Two that are equal in this have nothing new between them.
    """
    cluster = overview.cluster
    still = replace(
        cluster,
        workers=tuple(
            replace(worker, silent_s=0.0, task_s=None, sending=None, receiving=None)
            for worker in cluster.workers
        ),
        leases=tuple(
            replace(lease, held_s=0.0, stalled_s=0.0, left_s=0.0)
            for lease in cluster.leases
        ),
        wait=re.sub(r"for \d+ s", "", cluster.wait),
    )
    return replace(
        overview,
        progress=replace(overview.progress, per_second=None, seconds_left=None),
        bytes_moved=Bytes(),
        bytes_by_worker={},
        cluster=still,
        clock_s=0.0,
    )


def view(overview: Overview, width: int) -> RenderableType:
    """The overview for people.

    Args:
        overview: What to show.
        width: Columns that there are.
    """
    parts: list[RenderableType] = [
        _text(_headline(overview), "bold"),
        _text(overview.cluster.wait),
    ]
    if overview.progress.message:
        parts.append(_text(overview.progress.message, "dim"))
    if overview.stopping:
        text = "stopping: the run ends after the round under way"
        parts.append(_text(text, "yellow"))
    if overview.cluster.workers:
        if width < NARROW:
            parts += _narrow(overview)
        else:
            parts.append(_table(overview, wide=width >= WIDE))
        parts += [
            _text(f"{worker.name} is quarantined: {worker.quarantined}", "yellow")
            for worker in overview.cluster.workers
            if worker.quarantined
        ]
        parts += [
            _text(f"{worker.name} is away: {worker.away}", "dim")
            for worker in overview.cluster.workers
            if worker.state == "away"
        ]
    parts.append(_text(_sums(overview), "dim"))
    return Group(*parts)


def _text(text: str, style: str = "") -> Text:
    """A text without markup: names and reasons come from workers."""
    return Text(printable(text), style=style)


def _headline(overview: Overview) -> str:
    progress = overview.progress
    if not progress.iterations:
        return f"run {overview.run}"
    words = [
        f"run {overview.run}",
        f"{progress.iteration}/{progress.iterations}",
        speed(progress.per_second),
        f"{clock_time(progress.seconds_left)} left",
    ]
    if progress.validation:
        words.append(f"validation after {progress.validation}")
    return "  ".join(words)


def _narrow(overview: Overview) -> list[RenderableType]:
    """A table that fits fifty columns, and below it what each worker computes."""
    doing = _doing(overview)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("worker", overflow="fold")
    table.add_column("state", no_wrap=True)
    for name in ("speed", "done"):
        table.add_column(name, justify="right", no_wrap=True)
    lines = []
    for worker in overview.cluster.workers:
        cells = (worker.name, worker.state, _pace(worker), str(worker.shards_done))
        table.add_row(*map(_text, cells))
        failed = [f"{worker.failures} failed"] if worker.failures else []
        if told := [*doing[worker.worker], *failed]:
            lines.append(_text(f"{worker.name}: {', '.join(told)}"))
    return [table, *lines]


def _doing(overview: Overview) -> dict[WorkerId, list[str]]:
    """What each worker computes, and what is on its way."""
    computing: dict[WorkerId, list[str]] = {}
    for lease in overview.cluster.leases:
        computing.setdefault(lease.worker_id, []).append(_computing(lease))
    return {
        worker.worker: [*computing.get(worker.worker, []), *_transfers(worker)]
        for worker in overview.cluster.workers
    }


def _table(overview: Overview, *, wide: bool) -> Table:
    doing = _doing(overview)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in ("worker", "device", "state"):
        table.add_column(name)
    for name in ("speed", "lag", "done", "failed", *(("up", "down") if wide else ())):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("computing")
    for worker in overview.cluster.workers:
        moved = overview.bytes_by_worker.get(worker.worker, Bytes())
        cells = [
            *(worker.name, worker.device, worker.state, _pace(worker)),
            f"{worker.silent_s:.1f} s",
            *(str(worker.shards_done), str(worker.failures)),
            *((size_text(moved.up), size_text(moved.down)) if wide else ()),
            ", ".join(doing[worker.worker]) or "-",
        ]
        table.add_row(*map(_text, cells))
    return table


def _pace(worker: WorkerStatus) -> str:
    """Training tasks a second."""
    if not worker.task_s:
        return "-"
    rate = 1 / worker.task_s
    return f"{rate:.{0 if rate >= 100 else 1 if rate >= 10 else 2}f}/s"


def _transfers(worker: WorkerStatus) -> list[str]:
    """What is long on its way to or from a worker."""
    texts = []
    if worker.sending is not None:
        texts.append(waits.sending(worker.sending))
    if worker.receiving is not None:
        texts.append(waits.receiving(worker.receiving))
    return texts


def _computing(lease: LeaseStatus) -> str:
    marks = ", backup" * lease.backup + ", slow" * lease.slow
    return (
        f"shard {lease.key.shard}: {lease.tasks_done}/{lease.tasks} tasks, "
        f"{lease.held_s:.0f} s{marks}"
    )


def _sums(overview: Overview) -> str:
    cluster = overview.cluster
    moved = overview.bytes_moved
    version = "-" if cluster.version is None else str(cluster.version)
    return (
        f"{len(cluster.workers)} connected; theta {version}; "
        f"{cluster.counted} updates counted, {cluster.refused} refused; "
        f"{_results('audits', cluster.audits)}"
        f"{_results('late', cluster.late)}"
        f"{size_text(moved.up)} up, {size_text(moved.down)} down"
    )


def _results(what: str, counts: Mapping[str, int]) -> str:
    """What became of audits or of late updates, if there were any."""
    if not any(counts.values()):
        return ""
    ended = ", ".join(f"{count} {result}" for result, count in counts.items() if count)
    return f"{what}: {ended}; "
