"""Options of `mlpeft-worker` for a machine whose owner comes first."""

from __future__ import annotations

from typing import Annotated

import typer

from mlpeft.cluster.worker.conditions import Conditions, Hours, parse_duration

PANEL = "The machine's owner comes first"

WhenIdle = Annotated[
    str | None,
    typer.Option(
        metavar="TIME",
        help="Compute only after so long without input, such as 5m.",
        show_default=False,
        rich_help_panel=PANEL,
    ),
]
OnPower = Annotated[
    bool,
    typer.Option(
        "--on-power", help="Compute only on mains power.", rich_help_panel=PANEL
    ),
]
WhenCool = Annotated[
    bool,
    typer.Option(
        "--when-cool",
        help="Compute only without thermal pressure (macOS).",
        rich_help_panel=PANEL,
    ),
]
InHours = Annotated[
    str | None,
    typer.Option(
        "--hours",
        metavar="FROM-TO",
        help="Compute only in these hours, such as 20-8.",
        show_default=False,
        rich_help_panel=PANEL,
    ),
]


def read_conditions(
    when_idle: str | None, *, on_power: bool, when_cool: bool, hours: str | None
) -> Conditions:
    """What the options say.

    Raises:
        ConditionError: If one is not understood.
    """
    return Conditions(
        idle_s=None if when_idle is None else parse_duration(when_idle, "--when-idle"),
        on_power=on_power,
        when_cool=when_cool,
        hours=None if hours is None else Hours.parse(hours),
    )
