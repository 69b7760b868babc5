"""`mlpeft validate`: does everything work here?"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mlpeft.commands.checks import run_checks
from mlpeft.commands.options import Json, Overrides
from mlpeft.commands.verdicts import show


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
    show(run_checks(config, overrides or ()), as_json=json_output)
