"""`mlpeft logs`: what a run has logged, for people."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Iterable, Iterator
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mlpeft.commands.options import Json
from mlpeft.errors import ConfigError, DataError

if TYPE_CHECKING:
    from mlpeft.reporting.log_lines import LogLine

LOOK_S = 0.25
"""Seconds between looks at whether there is more."""
LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")
STYLES = {"WARNING": "yellow", "ERROR": "red", "CRITICAL": "red", "DEBUG": "dim"}


def logs(
    run: Annotated[
        str | None,
        typer.Argument(
            help="A run's folder, its name, or a log file.",
            show_default="the newest log in logs/",
        ),
    ] = None,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on with what is added.")
    ] = False,
    level: Annotated[
        str, typer.Option(help=f"Least severe level: {', '.join(LEVELS)}.")
    ] = "DEBUG",
    worker: Annotated[
        str | None,
        typer.Option(help="Only what is about this worker.", show_default=False),
    ] = None,
    last: Annotated[
        int, typer.Option("--last", "-n", min=0, help="Lines at most; 0: all.")
    ] = 100,
    json_output: Json = False,
) -> None:
    """Show a run's log: of `mlpeft train`, a coordinator, or a worker's --log-file."""
    from mlpeft.reporting.log_lines import follow_log

    if level.upper() not in LEVELS:
        raise ConfigError(f"--level {level}: expected one of {', '.join(LEVELS)}")
    path = find_log(run)
    lines = follow_log(path)
    written = takewhile(lambda line: line is not None, lines)
    for line in deque(_chosen(written, level, worker), maxlen=last or None):
        _show(line, as_json=json_output)
    if not follow:
        return
    try:
        for line in _chosen(_as_they_come(lines), level, worker):
            _show(line, as_json=json_output)
    except KeyboardInterrupt:
        return


def _as_they_come(lines: Iterator[LogLine | None]) -> Iterator[LogLine]:
    for line in lines:
        if line is None:
            time.sleep(LOOK_S)
        else:
            yield line


def find_log(run: str | None) -> Path:
    """The log that is meant.

    Args:
        run: A run's folder, its name, or a log file; None: the newest of `logs/`.

    Raises:
        DataError: If there is none; says where it was looked for.
    """
    from mlpeft.config import RunConfig
    from mlpeft.reporting.log_file import SUFFIX, log_path

    folder = RunConfig().logging.log_dir
    if run is None:
        found = sorted(folder.glob(f"*{SUFFIX}"), key=lambda path: path.stat().st_mtime)
        if not found:
            raise DataError(
                f"no log in {folder.absolute()}; name a run's folder, or a log file"
            )
        return found[-1]
    given = Path(run)
    if given.is_file():
        return given
    if (given / "config.yaml").is_file():
        path = log_path(RunConfig.load(given / "config.yaml"))
    else:
        path = folder / f"{run}{SUFFIX}"
    if not path.is_file():
        raise DataError(
            f"no log at {path.absolute()}; give a run's folder, from where the run was "
            "started, or a log file"
        )
    return path


def _chosen(
    lines: Iterable[LogLine | None], level: str, worker: str | None
) -> Iterator[LogLine]:
    """The lines of a level or above, and about one worker if one is named."""
    least = logging.getLevelNamesMapping()[level.upper()]
    for line in lines:
        if line is None or line.severity < least:
            continue
        if worker is None or line.context.get("worker") == worker:
            yield line


def _show(line: LogLine, *, as_json: bool) -> None:
    """Print a line: its time here, level and text, in the colour of its level."""
    if as_json:
        import json

        record = {"time": line.time, "level": line.level, "logger": line.logger}
        typer.echo(json.dumps(record | {"text": line.text} | dict(line.context)))
        return
    from rich.text import Text

    from mlpeft.reporting.terminal import output_console, printable

    when = time.strftime("%m-%d %H:%M:%S", time.localtime(line.time))
    text = printable(line.text)
    shown = Text.assemble(
        (when, "dim"), f" {line.level:<7} {text}", style=STYLES.get(line.level, "")
    )
    output_console().print(shown, soft_wrap=True)
