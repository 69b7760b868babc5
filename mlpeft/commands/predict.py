"""`mlpeft predict`: what an adapter makes of texts."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from mlpeft.commands.options import Json
from mlpeft.platform.streams import argument_text, lines_of_stdin


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
            help="Texts, or prompts; without any, lines of standard input.",
            show_default=False,
        ),
    ] = None,
    weights: Annotated[
        str | None,
        typer.Option(
            help="Folder of the base's weights.", show_default="where they were"
        ),
    ] = None,
    max_tokens: Annotated[
        int,
        typer.Option(min=1, help="Longest completion of a language model, in tokens."),
    ] = 128,
    json_output: Json = False,
) -> None:
    """Label texts, with a confidence each; or go on with prompts.

    With --json an object a line: text, label, confidence, scores of all labels; or
    prompt and completion.
    """
    from mlpeft.adapters.completer import Completer
    from mlpeft.adapters.store import load_adapter

    found = load_adapter(adapter, weights)
    given = [argument_text(text) for text in texts or ()] or _lines()
    if isinstance(found, Completer):
        for prompt in given:
            (completion,) = found.predict([prompt], max_tokens)
            record = {"prompt": prompt, "completion": completion}
            typer.echo(_json(record) if json_output else completion)
        return
    width = max(len(label) for label in found.labels)
    for text, prediction in zip(given, found.predict(given), strict=True):
        share = f"{100 * prediction.confidence:5.1f} %"
        record = {"text": text, **asdict(prediction)}
        plain = f"{prediction.label:<{width}}  {share}  {text}"
        typer.echo(_json(record) if json_output else plain)


def _json(record: dict[str, Any]) -> str:
    return json.dumps(record, ensure_ascii=False)


def _lines() -> list[str]:
    """The lines of standard input that are not blank."""
    lines = lines_of_stdin()
    if lines is None:
        raise typer.BadParameter(
            "give texts as arguments, or a line each on standard input",
            param_hint="TEXTS",
        )
    texts = [text for line in lines if (text := line.strip())]
    if not texts:
        raise typer.BadParameter(
            "standard input has no text; give a line for each", param_hint="TEXTS"
        )
    return texts
