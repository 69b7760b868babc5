"""`mlpeft config`: every key, its default and its meaning."""

from __future__ import annotations

import json
from typing import Any

import typer

from mlpeft.commands.options import Json


def config(json_output: Json = False) -> None:
    """Print every configuration key with its default and its meaning."""
    from rich.console import Console
    from rich.table import Table

    rows = _keys()
    if json_output:
        typer.echo(json.dumps(rows))
        return
    table = Table(show_lines=False)
    for column in ("key", "default", "meaning"):
        table.add_column(column)
    for key, row in rows.items():
        table.add_row(key, json.dumps(row["default"]), row["meaning"])
    Console().print(table)


def _keys() -> dict[str, dict[str, Any]]:
    """`section.key` -> default (as in YAML) and meaning."""
    from mlpeft.config import RunConfig

    defaults = RunConfig().to_dict()
    rows = {}
    for section in RunConfig.model_fields:
        fields = type(getattr(RunConfig(), section)).model_fields
        for key, field in fields.items():
            rows[f"{section}.{key}"] = {
                "default": defaults[section][key],
                "meaning": field.description,
            }
    return rows
