"""`mlpeft import`: an adapter of another library as the start of a run."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from mlpeft.commands.options import Config, Overrides


def import_(
    folder: Annotated[
        Path,
        typer.Argument(
            help="Adapter folder of mlx-lm or Hugging Face PEFT.", show_default=False
        ),
    ],
    config: Config,
    overrides: Overrides = None,
) -> None:
    """Make another library's adapter the start of a run.

    The configuration names the base, the tasks and the run; method, rank and layers
    are the adapter's.
    """
    from mlpeft.config import RunConfig
    from mlpeft.exchange.export import import_adapter

    run_dir = import_adapter(folder, RunConfig.load(config, overrides or ()))
    words = ["mlpeft", "train", "--config", str(run_dir / "config.yaml"), "--resume"]
    typer.echo(f"Written to {run_dir}; adapt from it, evaluate it, or train on with:")
    typer.echo(f"  {shlex.join(words)}")
