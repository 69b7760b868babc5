"""`mlpeft predict`: what an adapter makes of texts."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated, Any

import typer

from mlpeft.commands.options import Json
from mlpeft.commands.progress import progress_bar
from mlpeft.errors import DataError
from mlpeft.platform.streams import argument_text, lines_of_stdin

if TYPE_CHECKING:
    from mlpeft.adapters.classifier import Classifier

CHUNK = 1024
"""Rows that are in memory at once."""


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
            help="Texts, or prompts; without any, and without --data, lines of "
            "standard input.",
            show_default=False,
        ),
    ] = None,
    weights: Annotated[
        str | None,
        typer.Option(
            help="Folder of the base's weights.", show_default="where they were"
        ),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(
            help="A .csv, .tsv, .json or .jsonl file of texts to label. Its rows are "
            "written in their order, with the columns label and confidence.",
            show_default=False,
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            help="With --data: the .csv or .jsonl file to write.",
            show_default="CSV on standard output; JSON lines with --json",
        ),
    ] = None,
    text_column: Annotated[
        str, typer.Option(help="With --data: the column, or key, of the texts.")
    ] = "text",
    reject_below: Annotated[
        float | None,
        typer.Option(
            min=0,
            max=1,
            help='Confidence below which a text is "none of these".',
            show_default="the adapter's",
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

    if data is not None and texts:
        raise typer.BadParameter("give texts or --data, not both", param_hint="TEXTS")
    if output is not None and data is None:
        raise typer.BadParameter("it needs --data", param_hint="--output")
    found = load_adapter(adapter, weights)
    if isinstance(found, Completer):
        if data is not None or reject_below is not None:
            raise typer.BadParameter(
                "a language model completes prompts; give them as arguments",
                param_hint="--data" if data is not None else "--reject-below",
            )
        for prompt in _given(texts):
            (completion,) = found.predict([prompt], max_tokens)
            record = {"prompt": prompt, "completion": completion}
            typer.echo(_json(record) if json_output else completion)
        return
    if data is not None:
        _label_file(found, data, output, text_column, reject_below, json_output)
        return
    given = _given(texts)
    width = max(len(label) for label in found.labels)
    predictions = found.predict(given, reject_below=reject_below)
    for text, prediction in zip(given, predictions, strict=True):
        share = f"{100 * prediction.confidence:5.1f} %"
        record = {"text": text, **asdict(prediction)}
        plain = f"{prediction.label:<{width}}  {share}  {text}"
        typer.echo(_json(record) if json_output else plain)


def _label_file(
    adapter: Classifier,
    data: Path,
    output: Path | None,
    column: str,
    reject_below: float | None,
    json_output: bool,
) -> None:
    """Label the rows of a file, a chunk at a time."""
    if output is not None and output.resolve() == data.resolve():
        raise typer.BadParameter("it is the file of --data", param_hint="--output")
    total = sum(1 for _ in _rows(data, column))
    if not total:
        raise DataError(
            f"{data} has no texts to label; expected a row for each, with the text in "
            f"{column!r} (of a table, the first line names the columns)"
        )
    as_json = json_output if output is None else output.suffix in (".jsonl", ".json")
    rows = _rows(data, column)
    opened = (
        nullcontext(sys.stdout)
        if output is None
        else output.open("w", encoding="utf-8", newline="")
    )
    with opened as file, progress_bar("predict", total, "texts") as advance:
        write = _JsonLines(file) if as_json else _Table(file)
        done = 0
        while chunk := list(islice(rows, CHUNK)):
            before = done
            predictions = adapter.predict(
                [row[column] for row in chunk],
                lambda count, before=before: advance(before + count),  # type: ignore[misc]
                reject_below=reject_below,
            )
            for row, one in zip(chunk, predictions, strict=True):
                gold = {"gold": row["label"]} if "label" in row else {}
                others = {key: v for key, v in row.items() if key != "label"}
                answer = {"label": one.label, "confidence": round(one.confidence, 4)}
                write(others | gold | answer)
            done += len(chunk)
    if output is not None:
        typer.echo(f"Labelled {done:,} texts in {output}", err=True)


def _rows(data: Path, column: str) -> Iterator[dict[str, Any]]:
    """The rows of a file, each with a text.

    Raises:
        DataError: If one has none.
    """
    from mlpeft.adapters.labelled import text_of
    from mlpeft.datasets.rows import read_rows

    for row in read_rows(data):
        yield row.values | {column: text_of(row.place, row.values, column)}


class _JsonLines:
    """Writes an object a line."""

    def __init__(self, file: IO[str]) -> None:
        self._file = file

    def __call__(self, record: dict[str, Any]) -> None:
        self._file.write(_json(record) + "\n")


class _Table:
    """Writes CSV with the columns of the first row."""

    def __init__(self, file: IO[str]) -> None:
        self._file = file
        self._writer: csv.DictWriter[str] | None = None

    def __call__(self, record: dict[str, Any]) -> None:
        if self._writer is None:
            self._writer = csv.DictWriter(
                self._file, list(record), extrasaction="ignore", lineterminator="\n"
            )
            self._writer.writeheader()
        self._writer.writerow(record)


def _json(record: dict[str, Any]) -> str:
    return json.dumps(record, ensure_ascii=False)


def _given(texts: list[str] | None) -> list[str]:
    """The texts of the command line, else of standard input."""
    return [argument_text(text) for text in texts or ()] or _lines()


def _lines() -> list[str]:
    """The lines of standard input that are not blank."""
    lines = lines_of_stdin()
    if lines is None:
        raise typer.BadParameter(
            "give texts as arguments, a line each on standard input, or a file with "
            "--data",
            param_hint="TEXTS",
        )
    texts = [text for line in lines if (text := line.strip())]
    if not texts:
        raise typer.BadParameter(
            "standard input has no text; give a line for each", param_hint="TEXTS"
        )
    return texts
