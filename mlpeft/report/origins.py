"""The section on what was trained on what, for how long, and how to repeat it."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING, Any

from mlpeft.charts.svg import Markup, element
from mlpeft.config import RunConfig
from mlpeft.dashboard.view import facts
from mlpeft.errors import MlpeftError
from mlpeft.files import parse_json, parse_json_object, size_text
from mlpeft.report import parts
from mlpeft.report.scores import shot_rows
from mlpeft.reporting.pace import clock_time
from mlpeft.reporting.sessions import FILE_NAME
from mlpeft.training.checkpoint import load_progress, step_folders

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mlpeft.dashboard.run_folder import RunFolder


def sentence(folders: Sequence[RunFolder]) -> str:
    """What was trained, in a sentence."""
    folder = folders[0]
    config = folder.config
    if config is None:
        return f"Run {folder.name}; its configuration cannot be read."
    told = dict(facts(config))
    others = f", and {len(folders) - 1} more" if len(folders) > 1 else ""
    method = f" by {told['method']}" if "method" in told else ""
    return (
        f"{config.meta_learning.algorithm} of {told['model']}{method} on "
        f"{told['tasks']} tasks, {folder.measured.iteration:,} of "
        f"{config.meta_learning.num_meta_iterations:,} meta-iterations{others}."
    )


def section(folders: Sequence[RunFolder]) -> Markup:
    """All runs' origins."""
    children: list[object] = []
    for folder in folders:
        if len(folders) > 1:
            children.append(element("h3", folder.name))
        children += _of(folder, "h4" if len(folders) > 1 else "h3")
    return parts.section("How it was made, and how to repeat it", *children)


def _of(folder: RunFolder, heading: str) -> list[object]:
    sessions = _sessions(folder)
    first = sessions[0] if sessions else {}
    rows: list[tuple[str, object]] = [
        ("mlpeft", _version(first)),
        ("MLX", first.get("versions", {}).get("mlx")),
        ("machine", _machine(first)),
        ("inner loops", _strategy(folder)),
        ("time", _duration(folder, sessions)),
        ("energy", "not measured"),
        ("starts", str(len([s for s in sessions if "started" in s]) or "")),
    ]
    rows += [(f"data: {name}", text) for name, text in _data(folder)]
    parts_: list[object] = [parts.facts(rows)]
    commands = _commands(folder, sessions)
    if commands:
        listing = element("pre", "\n".join(commands))
        parts_ += [element(heading, "Commands"), listing]
    if folder.config is not None:
        parts_ += [
            element(heading, "Settings that differ from the defaults"),
            parts.table(("Key", "value"), _changed(folder.config)),
            element(
                "details",
                element("summary", "The whole configuration"),
                element("pre", folder.config.to_yaml()),
            ),
        ]
    return parts_


def _sessions(folder: RunFolder) -> list[dict[str, Any]]:
    found = []
    with contextlib.suppress(OSError):
        for line in (folder.path / FILE_NAME).read_bytes().splitlines():
            with contextlib.suppress(ValueError):
                record = parse_json(line)
                if isinstance(record, dict):
                    found.append(record)
    return found


def _version(session: dict[str, Any]) -> str | None:
    versions = session.get("versions")
    if not isinstance(versions, dict):
        return None
    commit = session.get("commit")
    return f"{versions.get('mlpeft')}" + (f", commit {commit}" if commit else "")


def _machine(session: dict[str, Any]) -> str | None:
    if "device" not in session:
        return None
    memory = size_text(int(session.get("memory_bytes") or 0))
    return (
        f"{session['device']}, {session.get('cores')} cores, {memory} memory, "
        f"{session.get('system')}"
    )


def _strategy(folder: RunFolder) -> str:
    """The run's strategy, and since when some shards were computed otherwise."""
    told = [] if folder.config is None else [str(folder.config.compute.strategy)]
    for step in reversed(step_folders(folder.path)):
        with contextlib.suppress(MlpeftError):
            return "; ".join([*told, *load_progress(step).otherwise_told])
    return "; ".join(told)


def _duration(folder: RunFolder, sessions: list[dict[str, Any]]) -> str:
    """From the sessions' starts and ends, or else from metrics.jsonl."""
    spent, began = 0.0, None
    for record in sessions:
        if "started" in record:
            began = float(record["started"])
        elif began is not None and "ended" in record:
            spent += float(record["ended"]) - began
            began = None
    if began is not None:
        spent += max(0.0, folder.measured.time - began)
    if not spent:
        return ""
    ended = time.strftime("%Y-%m-%d", time.localtime(folder.measured.time))
    return f"{clock_time(spent)}, until {ended}"


def _data(folder: RunFolder) -> list[tuple[str, str]]:
    with contextlib.suppress(OSError, ValueError, LookupError, AttributeError):
        tree = parse_json_object((folder.path / "data.json").read_bytes())
        about = {name: text for name, text in tree.get("about", {}).items() if text}
        described = "; ".join(map(str, about.values()))
        return [
            *((name, f"SHA-256 {digest}") for name, digest in tree["sha256"].items()),
            *([("contents", described)] if described else []),
        ]
    return []


def _commands(folder: RunFolder, sessions: list[dict[str, Any]]) -> list[str]:
    """Commands that train such a run again, and score it."""
    trained = dict.fromkeys(
        str(record["command"]) for record in sessions if "command" in record
    )
    config = folder.path / "config.yaml"
    commands = [
        *(f"# as it was started: {command}" for command in trained),
        f"mlpeft train --config {config} --set run.name={folder.name}-again",
    ]
    rows = shot_rows(folder)
    if rows:
        shots = ",".join(str(row.k) for row in rows)
        commands.append(f"mlpeft compare --checkpoint {folder.path} --k-shots {shots}")
    return commands


def _changed(config: RunConfig) -> list[tuple[str, str]]:
    """Keys whose values are not the defaults."""
    defaults, rows = RunConfig().to_dict(), []
    for section_name, values in config.to_dict().items():
        for key, value in values.items():
            if section_name not in ("paths", "logging") and (
                defaults[section_name].get(key) != value
            ):
                rows.append((f"{section_name}.{key}", str(value)))
    return rows
