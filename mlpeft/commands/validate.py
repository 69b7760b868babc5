"""`mlpeft validate`: does everything work here?"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from mlpeft.checks import Status, run_checks
from mlpeft.commands.options import Json, Overrides

FAILED = 1
"""Exit code if any check fails."""
MARKS = {
    Status.OK: "[green]ok     [/green]",
    Status.WARNING: "[yellow]warning[/yellow]",
    Status.FAILED: "[red]failed [/red]",
}


def validate(
    config: Annotated[
        Path | None,
        typer.Option(
            "--config",
            "-c",
            help="Check this run's configuration, tasks, data and model too.",
            show_default=False,
        ),
    ] = None,
    overrides: Overrides = None,
    json_output: Json = False,
) -> None:
    """Check installation, device, configuration, data and a tiny training step.

    Says what to do for each failure. Exit code 1 if a check fails; warnings do not
    count.
    """
    from rich.console import Console
    from rich.markup import escape

    console = Console(highlight=False)
    checks = []
    for check in run_checks(config, overrides or ()):
        checks.append(check)
        if json_output:
            continue
        text = f"{MARKS[check.status]} {check.name}: {escape(check.detail)}"
        console.print(text, soft_wrap=True)
        if check.remedy:
            console.print(f"        -> {escape(check.remedy)}", soft_wrap=True)
    failures = sum(check.status is Status.FAILED for check in checks)
    if json_output:
        record = {"ok": failures == 0, "checks": [asdict(check) for check in checks]}
        typer.echo(json.dumps(record, indent=1))
    else:
        warnings = sum(check.status is Status.WARNING for check in checks)
        console.print(_verdict(len(checks), failures, warnings))
    if failures:
        raise typer.Exit(FAILED)


def _verdict(checks: int, failures: int, warnings: int) -> str:
    text = f"No check of {checks} failed"
    if failures:
        text = f"{failures} check{'s' if failures > 1 else ''} of {checks} failed"
    if warnings:
        text += f", {warnings} warning{'s' if warnings > 1 else ''}"
    return text
