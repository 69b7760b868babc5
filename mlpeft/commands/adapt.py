"""`mlpeft adapt`: an adapter from a few examples of one's own."""

from __future__ import annotations

import json
import shlex
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from mlpeft.commands.options import (
    AllowModule,
    Json,
    MaybeConfig,
    Overrides,
)


def adapt(
    support: Annotated[
        Path,
        typer.Option(
            help="A .jsonl or .csv file with text and label, or for a language "
            "model with prompt and completion.",
            show_default=False,
        ),
    ],
    output: Annotated[
        Path, typer.Option(help="Folder for the adapter.", show_default=False)
    ],
    checkpoint: Annotated[
        Path | None,
        typer.Option(
            help="A run's folder (its best step), one of its steps, or an .npz file: "
            "adapts by inner steps.",
            show_default=False,
        ),
    ] = None,
    start: Annotated[
        str | None,
        typer.Option(
            help="In place of --checkpoint: a start of `mlpeft starts list`, a run's "
            "folder, or none for the base as it is; fits a head, in seconds.",
            show_default=False,
        ),
    ] = None,
    base: Annotated[
        str | None,
        typer.Option(
            help="With --start: a sentence encoder, as model.weights takes it.",
            show_default="the start's",
        ),
    ] = None,
    head: Annotated[
        str,
        typer.Option(
            help="With --start: prototype, ridge, logistic, ngrams (logistic on "
            "character n-grams, too), layers (on several layers of the encoder), mean "
            "(of ridge and logistic), or auto, the best of these on held-out examples."
        ),
    ] = "auto",
    reject_below: Annotated[
        str | None,
        typer.Option(
            help='With --start: confidence below which a text is "none of these"; a '
            "number from 0 to 1, or auto: it becomes one more label.",
            show_default="never",
        ),
    ] = None,
    unlabelled: Annotated[
        Path | None,
        typer.Option(
            help="With --start: a file of texts without labels to learn from, too.",
            show_default=False,
        ),
    ] = None,
    descriptions: Annotated[
        Path | None,
        typer.Option(
            help="With --start: a file as --support, whose texts say what a label is "
            "about; a label that is described needs no examples.",
            show_default=False,
        ),
    ] = None,
    class_weight: Annotated[
        str | None,
        typer.Option(
            help="With --start: balanced, so that labels with few examples weigh as "
            "much as others.",
            show_default="each example weighs the same",
        ),
    ] = None,
    steps: Annotated[
        str | None,
        typer.Option(
            metavar="NUMBER|auto",
            help="Inner steps. With --start, of LoRA before the head is fitted; auto: "
            "some, if they pay on held-out examples and take less than a minute.",
            show_default="as the run's evaluation; with --start none",
        ),
    ] = None,
    text_column: Annotated[
        str, typer.Option(help="With --start: the column, or key, of the texts.")
    ] = "text",
    label_column: Annotated[
        str, typer.Option(help="With --start: the column, or key, of the labels.")
    ] = "label",
    label_names: Annotated[
        bool | None,
        typer.Option(
            "--label-names/--no-label-names",
            help="Take each label's name for one more example of it.",
            show_default="as in the run's tasks",
        ),
    ] = None,
    config: MaybeConfig = None,
    overrides: Overrides = None,
    allow_module: AllowModule = None,
    json_output: Json = False,
) -> None:
    """Adapt a start to a few examples of your own.

    Any number of labels, and of examples of each; or prompts and completions for a
    language model. `mlpeft predict` uses the result.
    """
    if (checkpoint is None) == (start is None):
        raise typer.BadParameter(
            "give one of the two: --start fits a head, --checkpoint takes inner steps",
            param_hint="--start / --checkpoint",
        )
    if checkpoint is None:
        if config is not None or overrides or allow_module:
            raise typer.BadParameter(
                "--config, --set and --allow-module go with --checkpoint",
                param_hint="--start",
            )
        settings = {
            "start": start,
            "base": base,
            "head": head,
            "label_names": True if label_names is None else label_names,
            "reject_below": _threshold(reject_below),
            "class_weight": class_weight,
            "label_descriptions": _descriptions(descriptions),
            "inner_steps": _steps(steps, auto=True) or 0,
        }
        columns = (text_column, label_column)
        _fit(settings, support, columns, unlabelled, output, json_output)
        return
    with_start = (base, unlabelled, reject_below, descriptions, class_weight)
    usual = (head, text_column, label_column) == ("auto", "text", "label")
    if any(value is not None for value in with_start) or not usual:
        raise typer.BadParameter(
            "--base, --head, --reject-below, --unlabelled, --descriptions, "
            "--class-weight, --text-column and --label-column go with --start",
            param_hint="--checkpoint",
        )
    from mlpeft.adapters.adapt import adapt as learn

    began = time.perf_counter()
    adapter = learn(
        checkpoint,
        support,
        output,
        steps=_steps(steps, auto=False),
        label_names=label_names,
        config=config,
        overrides=overrides or (),
        allow_modules=allow_module or (),
    )
    seconds = time.perf_counter() - began
    history = adapter.history
    if json_output:
        shown = {key: value for key, value in history.items() if key != "results"}
        record = {"output": str(output), "labels": list(adapter.labels), **shown}
        typer.echo(json.dumps(record | {"seconds": round(seconds, 3)}))
        return
    what = f"{len(adapter.labels)} labels" if adapter.labels else "to complete"
    names = " and the labels' names" if history["label_names"] else ""
    summary = f"Learned {what} from {history['examples']} examples{names}"
    summary += f" in {seconds:.1f} s"
    if history["steps"]:
        summary += (
            f" and {history['steps']} inner steps: loss {history['loss_before']:.3f}"
        )
        summary += f" before, {history['loss_after']:.3f} after"
    else:
        summary += ", without inner steps"
    typer.echo(summary)
    typer.echo(_next(output))


def _fit(
    settings: dict[str, Any],
    support: Path,
    columns: tuple[str, str],
    unlabelled: Path | None,
    output: Path,
    json_output: bool,
) -> None:
    """Fit a head to the examples of a file, and say what became of it."""
    from mlpeft.adapters.doubts import doubts
    from mlpeft.adapters.labelled import read_examples
    from mlpeft.adapters.text_classifier import TextClassifier

    began = time.perf_counter()
    text, label = columns
    texts, rows, several = read_examples(support, text_column=text, label_column=label)
    given = rows if several else [row[0] for row in rows]
    fitted = TextClassifier(**settings).fit(texts, given, unlabelled=unlabelled)
    fitted.save(output)
    seconds = time.perf_counter() - began
    history = fitted.adapter_.history
    if json_output:
        record = {
            "output": str(output),
            "labels": list(fitted.adapter_.labels),
            "examples": history["examples"],
            "head": fitted.head_,
            "steps": history.get("steps", 0) if settings["inner_steps"] else 0,
            "held_out_accuracy": fitted.held_out_accuracy_,
            "reject_below": fitted.reject_below_,
            "none_label": fitted.adapter_.none_label,
            "doubts": doubts(texts, rows),
            "seconds": round(seconds, 3),
        }
        typer.echo(json.dumps(record))
        return
    none = fitted.adapter_.none_label
    labels = len(fitted.classes_) - (none is not None)
    typer.echo(
        f"Learned {labels} labels from {history['examples']} examples in "
        f"{seconds:.1f} s; head: {fitted.head_}"
    )
    if "tuning" in history:
        typer.echo(f"Inner steps: {history['steps']} ({history['tuning']})")
    if fitted.held_out_accuracy_:
        shares = (
            f"{kind} {100 * share:.1f} %"
            for kind, share in fitted.held_out_accuracy_.items()
        )
        typer.echo(f"Right on examples that were held out: {', '.join(shares)}")
    for doubt in doubts(texts, rows):
        typer.echo(f"Is this meant? {doubt}")
    if none is not None:
        typer.echo(f"A text that is unlike all of them is labelled {none!r}")
    elif settings["reject_below"] == "auto":
        typer.echo("Too few examples to tell what is none of the labels")
    if fitted.reject_below_:
        typer.echo(
            f"Below a confidence of {fitted.reject_below_:.2f} a text is none of these"
        )
    typer.echo(_next(output))


def _steps(given: str | None, *, auto: bool) -> Any:
    """The number that a text says, or "auto"; None if there is no text."""
    if given is None or (auto and given == "auto"):
        return given
    if given.isdecimal():
        return int(given)
    expected = "a whole number" + (" or auto" if auto else "; auto goes with --start")
    raise typer.BadParameter(
        f"got {given!r}, expected {expected}", param_hint="--steps"
    )


def _descriptions(file: Path | None) -> dict[str, list[str]] | None:
    """The descriptions of a file by label."""
    from mlpeft.adapters.labelled import read_examples

    if file is None:
        return None
    described: dict[str, list[str]] = {}
    texts, rows, _ = read_examples(file)
    for text, labels in zip(texts, rows, strict=True):
        for label in labels:
            described.setdefault(label, []).append(text)
    return described


def _threshold(given: str | None) -> float | str | None:
    """The number that a text says, or the text."""
    try:
        return None if given is None else float(given)
    except ValueError:
        return given


def _next(output: Path) -> str:
    words = ["mlpeft", "predict", "--adapter", str(output), "a text of yours"]
    return f"Written to {output}; use it with: {shlex.join(words)}"
