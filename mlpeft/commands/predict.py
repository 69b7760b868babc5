"""`mlpeft predict`: classify texts with an adapter."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from mlpeft.commands.options import Json


def predict(
    adapter: Annotated[
        Path,
        typer.Option(
            "--adapter", help="Folder that `mlpeft adapt` wrote.", show_default=False
        ),
    ],
    texts: Annotated[
        list[str] | None,
        typer.Argument(
            help="Texts to classify; without any, lines of standard input.",
            show_default=False,
        ),
    ] = None,
    weights: Annotated[
        str | None,
        typer.Option(
            help="Folder of the base's weights.", show_default="where they were"
        ),
    ] = None,
    json_output: Json = False,
) -> None:
    """Classify texts: a label and a confidence each.

    With --json an object a line: text, label, confidence, scores of all labels.
    """
    from mlpeft.adapters.store import load_adapter

    found = load_adapter(adapter, weights)
    given = texts or _lines()
    predictions = found.predict(given)
    width = max(len(label) for label in found.labels)
    for text, prediction in zip(given, predictions, strict=True):
        if json_output:
            record = {"text": text, **asdict(prediction)}
            typer.echo(json.dumps(record, ensure_ascii=False))
        else:
            share = f"{100 * prediction.confidence:5.1f} %"
            typer.echo(f"{prediction.label:<{width}}  {share}  {text}")


def _lines() -> list[str]:
    """The lines of standard input that are not blank."""
    if sys.stdin.isatty():
        raise typer.BadParameter(
            "give texts as arguments, or a line each on standard input",
            param_hint="TEXTS",
        )
    lines = [line.strip() for line in sys.stdin]
    if not any(lines):
        raise typer.BadParameter(
            "standard input has no text; give a line for each", param_hint="TEXTS"
        )
    return [line for line in lines if line]
