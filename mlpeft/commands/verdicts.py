"""Showing checks: a line each, what to do, and what it comes to."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING

import typer

from mlpeft.commands.checks import Status

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mlpeft.commands.checks import Check

FAILED = 1
"""Exit code if any check fails."""
MARKS = {
    Status.OK: "[green]ok     [/green]",
    Status.WARNING: "[yellow]warning[/yellow]",
    Status.FAILED: "[red]failed [/red]",
}


def show(checks: Iterable[Check], *, as_json: bool) -> None:
    """Print checks as they are made, and end with exit code 1 if one fails.

    Args:
        checks: Made one by one.
        as_json: One JSON object at the end, for scripts.

    Raises:
        typer.Exit: If one fails.
    """
    from rich.markup import escape

    from mlpeft.reporting.terminal import output_console

    console = output_console()
    made = []
    for check in checks:
        made.append(check)
        if as_json:
            continue
        text = f"{MARKS[check.status]} {check.name}: {escape(check.detail)}"
        console.print(text, soft_wrap=True)
        if check.remedy:
            console.print(f"        -> {escape(check.remedy)}", soft_wrap=True)
    failures = sum(check.status is Status.FAILED for check in made)
    if as_json:
        record = {"ok": failures == 0, "checks": [asdict(check) for check in made]}
        typer.echo(json.dumps(record, indent=1))
    else:
        warnings = sum(check.status is Status.WARNING for check in made)
        console.print(_verdict(len(made), failures, warnings))
    if failures:
        raise typer.Exit(FAILED)


def _verdict(checks: int, failures: int, warnings: int) -> str:
    text = f"No check of {checks} failed"
    if failures:
        text = f"{failures} check{'s' if failures > 1 else ''} of {checks} failed"
    if warnings:
        text += f", {warnings} warning{'s' if warnings > 1 else ''}"
    return text
