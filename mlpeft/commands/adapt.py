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
            help="With --start: prototype, ridge, logistic, mean of the last two, or "
            "auto, the best of these on held-out examples."
        ),
    ] = "auto",
    reject_below: Annotated[
        str | None,
        typer.Option(
            help='With --start: confidence below which a text is "none of these"; a '
            "number from 0 to 1, or auto.",
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
    steps: Annotated[
        int | None,
        typer.Option(
            min=0, help="Inner steps.", show_default="as the run's evaluation"
        ),
    ] = None,
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
        if steps is not None or config is not None or overrides or allow_module:
            raise typer.BadParameter(
                "--steps, --config, --set and --allow-module go with --checkpoint",
                param_hint="--start",
            )
        settings = {
            "start": start,
            "base": base,
            "head": head,
            "label_names": True if label_names is None else label_names,
            "reject_below": _threshold(reject_below),
        }
        _fit(settings, support, unlabelled, output, json_output)
        return
    if base is not None or unlabelled is not None or reject_below or head != "auto":
        raise typer.BadParameter(
            "--base, --head, --reject-below and --unlabelled go with --start",
            param_hint="--checkpoint",
        )
    from mlpeft.adapters.adapt import adapt as learn

    began = time.perf_counter()
    adapter = learn(
        checkpoint,
        support,
        output,
        steps=steps,
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
    unlabelled: Path | None,
    output: Path,
    json_output: bool,
) -> None:
    """Fit a head to the examples of a file, and say what became of it."""
    from mlpeft.adapters.text_classifier import TextClassifier

    began = time.perf_counter()
    fitted = TextClassifier(**settings).fit(support, unlabelled=unlabelled)
    fitted.save(output)
    seconds = time.perf_counter() - began
    history = fitted.adapter_.history
    if json_output:
        record = {
            "output": str(output),
            "labels": list(fitted.adapter_.labels),
            "examples": history["examples"],
            "head": fitted.head_,
            "held_out_accuracy": fitted.held_out_accuracy_,
            "reject_below": fitted.reject_below_,
            "seconds": round(seconds, 3),
        }
        typer.echo(json.dumps(record))
        return
    typer.echo(
        f"Learned {len(fitted.classes_)} labels from {history['examples']} examples in "
        f"{seconds:.1f} s; head: {fitted.head_}"
    )
    if fitted.held_out_accuracy_:
        shares = (
            f"{kind} {100 * share:.1f} %"
            for kind, share in fitted.held_out_accuracy_.items()
        )
        typer.echo(f"Right on examples that were held out: {', '.join(shares)}")
    if fitted.reject_below_:
        typer.echo(
            f"Below a confidence of {fitted.reject_below_:.2f} a text is none of these"
        )
    typer.echo(_next(output))


def _threshold(given: str | None) -> float | str | None:
    """The number that a text says, or the text."""
    try:
        return None if given is None else float(given)
    except ValueError:
        return given


def _next(output: Path) -> str:
    words = ["mlpeft", "predict", "--adapter", str(output), "a text of yours"]
    return f"Written to {output}; use it with: {shlex.join(words)}"
