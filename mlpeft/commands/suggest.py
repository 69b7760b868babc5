"""`mlpeft suggest`: which texts to label next."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Annotated, Any

import typer

from mlpeft.commands.options import Json
from mlpeft.commands.progress import progress_bar
from mlpeft.errors import DataError


def suggest(
    adapter: Annotated[
        Path,
        typer.Option(
            "--adapter",
            help="Folder that `mlpeft adapt` or TextClassifier.save wrote.",
            show_default=False,
        ),
    ],
    pool: Annotated[
        Path,
        typer.Option(
            help="Texts without labels: a .txt file with one on each line, or a .csv, "
            ".tsv, .json or .jsonl file.",
            show_default=False,
        ),
    ],
    count: Annotated[
        int, typer.Option("--count", "-n", min=1, help="Texts to suggest.")
    ] = 20,
    weights: Annotated[
        str | None,
        typer.Option(
            help="Folder of the base's weights.", show_default="where they were"
        ),
    ] = None,
    text_column: Annotated[
        str, typer.Option(help="The column, or key, of the texts; not of a .txt file.")
    ] = "text",
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            help="A .csv file to write, with an empty column label to fill in for "
            "`mlpeft adapt`.",
            show_default="standard output",
        ),
    ] = None,
    json_output: Json = False,
) -> None:
    """Choose the texts of a pool that are worth a label: uncertain, and unlike others.

    With --json an object a line: text, guess, confidence, uncertainty.
    """
    from mlpeft.adapters.completer import Completer
    from mlpeft.adapters.store import EXAMPLES, load_adapter, load_examples
    from mlpeft.adapters.suggestions import choose, uncertainty
    from mlpeft.heads.linear import narrowed

    found = load_adapter(adapter, weights)
    if isinstance(found, Completer):
        raise DataError(
            f"{adapter} is of a language model, which completes prompts; "
            "mlpeft suggest takes an adapter that labels texts"
        )
    texts = _read_pool(pool, text_column)
    with progress_bar("suggest", len(texts), "texts") as advance:
        vectors = found.embed.features(texts, advance)
    probabilities = found.of_embeddings(vectors)
    vectors = narrowed(vectors, found.embed.last_dims)
    # Only what TextClassifier fitted keeps the embeddings of its examples.
    known = None
    if (adapter / EXAMPLES).is_file():
        known = load_examples(adapter).of_last_layer().x
    uncertain = uncertainty(probabilities, multi_label=found.multi_label)
    records: list[dict[str, Any]] = [
        {
            "text": texts[row],
            "guess": found.labels[int(probabilities[row].argmax())],
            "confidence": round(float(probabilities[row].max()), 4),
            "uncertainty": round(float(uncertain[row]), 4),
        }
        for row in choose(vectors, uncertain, count, known)
    ]
    if output is not None:
        with output.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(["text", "label", "guess", "confidence"])
            for one in records:
                writer.writerow([one["text"], "", one["guess"], one["confidence"]])
        typer.echo(f"Wrote {len(records)} texts to label to {output}", err=True)
        return
    width = max((len(one["guess"]) for one in records), default=0)
    for one in records:
        share = f"{100 * one['confidence']:5.1f} %"
        plain = f"{one['guess']:<{width}}  {share}  {one['text']}"
        typer.echo(json.dumps(one, ensure_ascii=False) if json_output else plain)


def _read_pool(pool: Path, column: str) -> list[str]:
    """The texts of a pool, once each, in their order.

    Raises:
        DataError: If it cannot be read, or has none.
    """
    from mlpeft.adapters.labelled import read_texts
    from mlpeft.datasets.rows import check_text

    if pool.suffix.lower() != ".txt":
        texts = read_texts(pool, column)
    else:
        try:
            lines = pool.read_text(encoding="utf-8-sig").splitlines()
        except FileNotFoundError as error:
            raise DataError(
                f"no texts at {pool.absolute()}; give a file with one on each line"
            ) from error
        except (OSError, ValueError) as error:
            raise DataError(
                f"{pool} cannot be read as text in UTF-8: {error}"
            ) from error
        texts = [line.strip() for line in lines if line.strip()]
        for text in texts:
            check_text(str(pool), text)
    if not texts:
        raise DataError(f"{pool} has no texts; give a file with one on each line")
    return list(dict.fromkeys(texts))
