"""Options that `mlpeft-worker` and its `install` share."""

from __future__ import annotations

from typing import Annotated

import typer

WorkerName = Annotated[
    str | None,
    typer.Option(
        "--name", help="What to call this worker.", show_default="host and pid"
    ),
]
AllowModule = Annotated[
    list[str] | None,
    typer.Option(
        help="A Python module of yours that a run's configuration may name; may be "
        "given again.",
        show_default=False,
    ),
]
AllowSleep = Annotated[
    bool,
    typer.Option("--allow-sleep", help="Let this Mac fall asleep while it computes."),
]
