"""`mlpeft config`: every key, its default and its meaning."""

from __future__ import annotations

import json
import textwrap
from importlib import resources
from pathlib import Path
from typing import Annotated, Any

import typer

from mlpeft.commands.options import Json
from mlpeft.errors import ConfigError, nearest

LINE = 80
"""Columns of a line of comment."""


def config(
    example: Annotated[
        str | None,
        typer.Option(
            "--example",
            metavar="NAME",
            help="Print a recipe in place of all keys, such as digits or intents.",
            show_default=False,
        ),
    ] = None,
    json_output: Json = False,
) -> None:
    """Print every configuration key with its default and its meaning.

    What is printed is a configuration file: `mlpeft config > my.yaml`, or `mlpeft
    config --example digits > my.yaml`.
    """
    from mlpeft.config import RunConfig

    if example is not None:
        typer.echo(recipe(example), nl=False)
        return

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


def recipe(name: str) -> str:
    """The text of a shipped recipe.

    Args:
        name: With or without .yaml.

    Raises:
        ConfigError: If there is none of that name.
    """
    folder = resources.files("mlpeft").joinpath("recipes")
    if not folder.is_dir():  # a checkout
        folder = Path(__file__).parents[2] / "configs"
    stem = name.removesuffix(".yaml")
    names = sorted(
        file.name.removesuffix(".yaml")
        for file in folder.iterdir()
        if file.name.endswith(".yaml")
    )
    if stem not in names:
        hint = nearest(stem, names)
        raise ConfigError(f"--example {name}: no such recipe; {hint}")
    return folder.joinpath(f"{stem}.yaml").read_text(encoding="utf-8")


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
