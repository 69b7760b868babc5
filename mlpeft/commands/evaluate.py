"""`mlpeft evaluate`: score a trained start on test tasks."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Annotated

import typer

from mlpeft.commands.options import (
    AllowModule,
    Checkpoint,
    Episodes,
    Json,
    MaybeConfig,
    Overrides,
)


def evaluate(
    checkpoint: Checkpoint,
    config: MaybeConfig = None,
    overrides: Overrides = None,
    episodes: Episodes = None,
    k_shot: Annotated[
        int | None,
        typer.Option(
            "--k-shot",
            "--k-shots",
            min=1,
            help="Support examples; by default the run's.",
            show_default=False,
        ),
    ] = None,
    transductive: Annotated[
        bool | None,
        typer.Option(
            "--transductive/--no-transductive",
            help="Whether queries share a batch; by default the run's choice.",
            show_default=False,
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            help="Where to write the JSON; by default evaluation.json in the run, "
            "or evaluation_5_shot.json and the like.",
            show_default=False,
        ),
    ] = None,
    allow_module: AllowModule = None,
    json_output: Json = False,
) -> None:
    """Adapt a trained start to test tasks and score it along the way.

    Prints accuracy (or loss) with 95 % intervals after 0, 1, 5, 10, ... inner steps.
    """
    from rich.console import Console

    from mlpeft.commands.progress import progress_bar
    from mlpeft.evaluation.evaluate import evaluate as score
    from mlpeft.files import unlink_link
    from mlpeft.reporting import setup_logger
    from mlpeft.training.trained import load_trained

    setup_logger("mlpeft")
    changes = list(overrides or ())
    if k_shot is not None:
        changes.append(f"task_distribution.k_shot={k_shot}")
    if transductive is not None:
        changes.append(f"model.transductive={str(transductive).lower()}")
    trained = load_trained(checkpoint, config, changes, allow_module or ())
    file = output or _beside(trained.path, _file_name(k_shot, transductive))
    _check_writable(file)
    number = episodes or trained.config.evaluation.num_test_episodes
    with progress_bar("Evaluating", number, "episodes", quiet=json_output) as advance:
        result = score(trained, number, progress=advance)
    record = {
        "checkpoint": str(trained.path),
        "iteration": trained.iteration,
        "k_shot": trained.config.task_distribution.k_shot,
        "num_classes": trained.config.task_distribution.num_classes,
        "transductive": trained.config.model.transductive,
        **result.to_dict(),
    }
    if output is None:
        unlink_link(file)
    file.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    if json_output:
        typer.echo(json.dumps(record))
        return
    Console().print(result.table())
    typer.echo(f"Written to {file}")


def _file_name(k_shot: int | None, transductive: bool | None) -> str:
    """A file for each question that is asked of a run, so that none is written over."""
    words = ["evaluation"]
    if k_shot is not None:
        words.append(f"{k_shot}_shot")
    if transductive is not None:
        words.append("transductive" if transductive else "alone")
    return "_".join(words) + ".json"


def _check_writable(file: Path) -> None:
    """Say so before the work is done if its result cannot be written."""
    file.parent.mkdir(parents=True, exist_ok=True)
    if file.is_dir() or not os.access(file.parent, os.W_OK):
        raise typer.BadParameter(
            f"cannot write a file at {file.absolute()}; give the path of a file that "
            "you may write",
            param_hint="--output",
        )


def _beside(checkpoint: Path, name: str) -> Path:
    """A file in the run's folder (a step is two folders down), or beside an .npz."""
    folder = checkpoint.parent if checkpoint.is_file() else checkpoint.parents[1]
    return folder / name
