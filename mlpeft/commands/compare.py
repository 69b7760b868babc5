"""`mlpeft compare`: a meta-learned start against a fresh initialisation."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mlpeft.commands.options import (
    Checkpoint,
    Episodes,
    Json,
    MaybeConfig,
    Overrides,
)
from mlpeft.errors import ConfigError

if TYPE_CHECKING:
    from rich.table import Table


def compare(
    checkpoint: Checkpoint,
    config: MaybeConfig = None,
    overrides: Overrides = None,
    k_shots: Annotated[
        str, typer.Option(help="Support sizes to compare at, with commas.")
    ] = "1,5,10",
    episodes: Episodes = None,
    output: Annotated[
        Path | None,
        typer.Option(
            help="Folder for comparison.json and .png; by default the run's.",
            show_default=False,
        ),
    ] = None,
    json_output: Json = False,
) -> None:
    """Compare a meta-learned start with a fresh one, on the same test episodes.

    Prints a table, and draws the K-shot curve of both (extra: plots).
    """
    from rich.console import Console

    from mlpeft.commands.progress import episode_progress
    from mlpeft.evaluate import compare as score
    from mlpeft.evaluate import load_trained

    shots = _numbers(k_shots)
    trained = load_trained(checkpoint, config, overrides or ())
    number = episodes or trained.config.evaluation.num_test_episodes
    total = number * 2 * len(shots)
    with episode_progress("Comparing", total, quiet=json_output) as advance:
        table = score(trained, shots, number, progress=advance)
    record = {
        "checkpoint": str(trained.path),
        "num_classes": trained.config.task_distribution.num_classes,
        "k_shots": {
            str(k): {
                "meta": row["meta"].to_dict(),
                "baseline": row["baseline"].to_dict(),
                "gain": row["gain"],
                "gain_ci95": row["gain_ci95"],
            }
            for k, row in table.items()
        },
    }
    folder = output or (
        trained.path.parent if trained.path.is_file() else trained.path.parents[1]
    )
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps(record, indent=1) + "\n"
    (folder / "comparison.json").write_text(text, encoding="utf-8")
    picture = _draw(table, folder / "comparison.png")
    if json_output:
        typer.echo(json.dumps(record))
        return
    Console().print(_table(table, number))
    typer.echo(f"Written to {folder / 'comparison.json'}")
    typer.echo(picture)


def _numbers(text: str) -> list[int]:
    try:
        numbers = [int(part) for part in text.split(",")]
    except ValueError:
        numbers = []
    if not numbers or min(numbers) < 1:
        raise ConfigError(
            f"--k-shots {text}: expected whole numbers from 1, such as 1,5,10"
        )
    return numbers


def _table(table: dict[int, dict[str, Any]], episodes: int) -> Table:
    from rich.table import Table

    first = next(iter(table.values()))["meta"]
    what = "loss" if first.acc is None else "accuracy %"
    view = Table(
        title=f"Meta-learned against fresh start: {what} over {episodes} episodes, "
        f"after {first.steps[-1]} inner steps"
    )
    for column in ("k-shot", "meta-learned", "fresh", "gain (paired)"):
        view.add_column(column, justify="right")
    for k, row in table.items():
        factor = 1.0 if first.acc is None else 100.0
        view.add_row(
            str(k),
            row["meta"].headline,
            row["baseline"].headline,
            f"{factor * row['gain']:+.2f} ± {factor * row['gain_ci95']:.2f}",
        )
    return view


def _draw(table: dict[int, dict[str, Any]], path: Path) -> str:
    """Draw the K-shot curve; what came of it, in a sentence."""
    try:
        from mlpeft import plots
    except ImportError:
        return "No picture: it needs the extra plots (pip install 'mlpeft[plots]')"
    figure = plots.kshot_curve(
        {
            "meta-learned": {k: row["meta"] for k, row in table.items()},
            "fresh": {k: row["baseline"] for k, row in table.items()},
        }
    )
    figure.savefig(path)
    return f"Drawn in {path}"
