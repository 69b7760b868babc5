"""`mlpeft evaluate`: score a trained start on test tasks."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mlpeft.commands.options import (
    AllowModule,
    Checkpoint,
    Episodes,
    Head,
    Json,
    MaybeConfig,
    Overrides,
)

if TYPE_CHECKING:
    from mlpeft.evaluation.grid import Cell
    from mlpeft.training.trained import Trained


def evaluate(
    checkpoint: Checkpoint,
    config: MaybeConfig = None,
    overrides: Overrides = None,
    episodes: Episodes = None,
    k_shot: Annotated[
        str | None,
        typer.Option(
            "--k-shot",
            "--k-shots",
            help="Support examples; by default the run's. Several, such as 1,5, are "
            "scored one after another.",
            show_default=False,
        ),
    ] = None,
    num_classes: Annotated[
        str | None,
        typer.Option(
            "--num-classes",
            help="Classes of an episode; by default the run's. Several, such as 5,20, "
            "make a grid with --k-shots.",
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
    head: Head = None,
    output: Annotated[
        Path | None,
        typer.Option(
            help="Where to write the JSON; by default evaluation.json in the run, "
            "or evaluation_5_shot_ridge.json and the like; with --set, a name of "
            "its own.",
            show_default=False,
        ),
    ] = None,
    allow_module: AllowModule = None,
    json_output: Json = False,
) -> None:
    """Adapt a trained start to test tasks and score it along the way.

    Prints accuracy (or loss) with 95 % intervals after 0, 1, 5, 10, ... inner steps,
    or with a head that is fitted to each task's support set (--head).
    """
    from mlpeft.commands.progress import progress_bar
    from mlpeft.evaluation.grid import evaluate_grid
    from mlpeft.files import unlink_link
    from mlpeft.reporting import setup_logger
    from mlpeft.training.trained import load_trained

    setup_logger("mlpeft")
    changes = list(overrides or ())
    if transductive is not None:
        changes.append(f"model.transductive={str(transductive).lower()}")
    if head is not None:
        changes.append(f"evaluation.head={head}")
    trained = load_trained(checkpoint, config, changes, allow_module or ())
    tasks = trained.config.task_distribution
    shots = numbers(k_shot, "--k-shots") or [tasks.k_shot]
    ways = numbers(num_classes, "--num-classes") or [tasks.num_classes]
    words = _words(k_shot and shots, num_classes and ways, transductive)
    words += [] if head is None else [head]
    if overrides:
        digest = hashlib.sha256("\n".join(sorted(overrides)).encode()).hexdigest()
        words.append(f"set_{digest[:8]}")
    file = output or _beside(trained.path, "_".join(["evaluation", *words]) + ".json")
    _check_writable(file)
    _tell_step(trained)
    number = episodes or trained.config.evaluation.num_test_episodes
    total = number * len(shots) * len(ways)
    with progress_bar("Evaluating", total, "episodes", quiet=json_output) as advance:
        cells = evaluate_grid(trained, ways, shots, number, advance)
    record: dict[str, Any] = {
        "checkpoint": str(trained.path),
        "iteration": trained.iteration,
        "set": list(overrides or ()),
    }
    if len(cells) == 1:
        record |= cells[0].to_dict()
    else:
        record["cells"] = [cell.to_dict() for cell in cells]
    if output is None:
        unlink_link(file)
    kept = record if len(cells) > 1 else record | {"per_episode": cells[0].per_episode}
    file.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")
    if json_output:
        typer.echo(json.dumps(record))
        return
    _tell(cells, file)


def _tell_step(trained: Trained) -> None:
    """Say which step of the run is scored; aloud if nothing was learned by then."""
    if trained.iteration < 0:
        return
    step = f"step {trained.iteration} of {trained.path.parents[1]}"
    if trained.iteration > 0:
        typer.echo(f"Scoring {step}", err=True)
        return
    typer.echo(
        f"Scoring {step}, which is untrained: no later one did better on validation "
        "tasks. More validation episodes (evaluation.num_val_episodes) or another "
        "outer_lr may change that; --checkpoint RUN/steps/... scores another step",
        err=True,
    )


def _tell(cells: list[Cell], file: Path) -> None:
    """Print a table; of several cells also write one as CSV."""
    from mlpeft.evaluation.grid import grid_csv, grid_table
    from mlpeft.evaluation.protocol import sentence
    from mlpeft.files import size_text
    from mlpeft.reporting.terminal import output_console

    one, written = cells[0], str(file)
    if len(cells) == 1:
        output_console().print(one.result.table())
    else:
        output_console().print(grid_table(cells))
        file.with_suffix(".csv").write_text(grid_csv(cells), encoding="utf-8")
        written += f" and {file.with_suffix('.csv')}"
    typer.echo(sentence(one.settings))
    seconds, peak = one.cost["seconds_per_episode"], one.cost["peak_bytes"]
    if seconds is not None and peak is not None and len(cells) == 1:
        typer.echo(f"{seconds:.3g} s to adapt to a task, {size_text(peak)} at most")
    typer.echo(f"Written to {written}")


def numbers(text: str | None, option: str) -> list[int]:
    """Whole numbers with commas; none if the option was not given."""
    if text is None:
        return []
    try:
        parsed = [int(part) for part in text.split(",")]
    except ValueError:
        parsed = []
    if not parsed or min(parsed) < 1:
        raise typer.BadParameter(
            f"expected whole numbers from 1, such as 1,5,10, got {text!r}",
            param_hint=option,
        )
    return list(dict.fromkeys(parsed))


def _words(
    shots: list[int] | str | None,
    ways: list[int] | str | None,
    transductive: bool | None,
) -> list[str]:
    """A name for each question that is asked of a run, so that no file is lost."""
    words = [f"{way}_way" for way in ways or ()]
    words += [f"{shot}_shot" for shot in shots or ()]
    if transductive is not None:
        words.append("transductive" if transductive else "alone")
    return words


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
