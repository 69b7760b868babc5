"""The section on the cluster: who computed, and what the run survived."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from mlpeft.charts.svg import Markup, element
from mlpeft.files import parse_json_object, size_text
from mlpeft.report import parts
from mlpeft.runtime.coordinator.cluster_file import FILE

if TYPE_CHECKING:
    from mlpeft.dashboard.run_folder import RunFolder


def section(folder: RunFolder, named: bool) -> Markup | None:
    """A run's cluster; None: it was computed by one process.

    Args:
        folder: The run.
        named: Whether the heading needs the run's name.
    """
    sessions = _sessions(folder)
    if not sessions:
        return None
    workers: dict[str, dict[str, Any]] = {}
    for session in sessions:
        for name, worker in session["workers"].items():
            sums = workers.setdefault(
                name, {"device": worker["device"], "shards_done": 0, "failures": 0}
            )
            sums["shards_done"] += worker["shards_done"]
            sums["failures"] += worker["failures"]
    rows = [
        (name, worker["device"], f"{worker['shards_done']:,}", str(worker["failures"]))
        for name, worker in sorted(workers.items())
    ]
    return parts.section(
        f"Cluster of {folder.name}" if named else "Cluster",
        element("p", _story(sessions, len(workers))),
        parts.table(("Worker", "device", "shards", "failed"), rows, "Who computed"),
    )


def _sessions(folder: RunFolder) -> list[dict[str, Any]]:
    with contextlib.suppress(OSError, ValueError, LookupError, AttributeError):
        tree = parse_json_object((folder.path / FILE).read_bytes())
        return [
            {key: session[key] for key in ("workers", "counted", "refused", "backups")}
            | {"failures": session["failures"], "bytes": session["bytes"]}
            for session in tree["sessions"].values()
        ]
    return []


def _story(sessions: list[dict[str, Any]], workers: int) -> str:
    """What happened, in a few sentences."""
    counted = sum(session["counted"] for session in sessions)
    refused = sum(session["refused"] for session in sessions)
    backups = sum(session["backups"] for session in sessions)
    failures: dict[str, int] = {}
    for session in sessions:
        for cause, count in session["failures"].items():
            failures[cause] = failures.get(cause, 0) + count
    moved = sum(sum(session["bytes"].values()) for session in sessions)
    listed = ", ".join(f"{n} {cause}" for cause, n in failures.items() if n)
    text = (
        f"{workers} worker{'s' * (workers != 1)} computed {counted:,} shards and moved "
        f"{size_text(moved)}. "
    )
    text += (
        f"Attempts that failed and were computed again: {listed}. "
        if listed
        else "No attempt failed. "
    )
    text += f"{backups} backups beside slow workers; {refused} updates refused. "
    if len(sessions) > 1:
        text += (
            f"The coordinator was started {len(sessions)} times and went on each time. "
        )
    return text + "None of this changes theta: it has the bytes of one process."
