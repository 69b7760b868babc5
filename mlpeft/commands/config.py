"""`mlpeft config`: every key, its default and its meaning."""

from __future__ import annotations

import json
import textwrap
from typing import Any

import typer

from mlpeft.commands.options import Json

LINE = 80
"""Columns of a line of comment."""


def config(json_output: Json = False) -> None:
    """Print every configuration key with its default and its meaning.

    What is printed is a configuration file: `mlpeft config > my.yaml`.
    """
    from mlpeft.config import RunConfig

    keys = _keys()
    if json_output:
        typer.echo(json.dumps(keys))
        return
    for section, field in RunConfig.model_fields.items():
        about = (type(field.default).__doc__ or "").partition("\n")[0]
        typer.echo(f"# {about}\n{section}:")
        for key, row in keys.items():
            if key.startswith(f"{section}."):
                typer.echo(_entry(key.removeprefix(f"{section}."), row))
        typer.echo()


def _entry(key: str, row: dict[str, Any]) -> str:
    """A key as YAML, below its meaning."""
    meaning = textwrap.fill(
        row["meaning"],
        LINE,
        initial_indent="  # ",
        subsequent_indent="  # ",
        break_long_words=False,
        break_on_hyphens=False,
    )
    return f"{meaning}\n  {key}: {json.dumps(row['default'])}"


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
