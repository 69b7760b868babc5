"""`mlpeft starts`: the starts that ship with mlpeft."""

from __future__ import annotations

import json

import typer

from mlpeft.commands.options import Json

app = typer.Typer(help="The starts that ship with mlpeft.", no_args_is_help=True)


@app.command("list")
def list_starts(json_output: Json = False) -> None:
    """List the starts that `mlpeft adapt --start` and TextClassifier know by name."""
    from mlpeft.adapters.starts import FROZEN, describe_starts

    found = describe_starts()
    if json_output:
        typer.echo(json.dumps(found))
        return
    width = max(map(len, [FROZEN, *found]))
    for name, about in found.items():
        typer.echo(f"{name:<{width}}  {about}")
