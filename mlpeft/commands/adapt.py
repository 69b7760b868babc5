"""`mlpeft adapt`: an adapter from a few examples of one's own."""

from __future__ import annotations

import json
import shlex
import time
from pathlib import Path
from typing import Annotated

import typer

from mlpeft.commands.options import (
    AllowModule,
    Checkpoint,
    Json,
    MaybeConfig,
    Overrides,
)


def adapt(
    checkpoint: Checkpoint,
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
    """Adapt a trained start to a few examples of your own.

    Any number of labels, and of examples of each; or prompts and completions for a
    language model. `mlpeft predict` uses the result.
    """
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
    words = ["mlpeft", "predict", "--adapter", str(output), "a text of yours"]
    typer.echo(f"Written to {output}; use it with: {shlex.join(words)}")
