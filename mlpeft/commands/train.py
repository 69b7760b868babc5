"""`mlpeft train`: meta-train on this machine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from mlpeft.commands.entry import again, say_last
from mlpeft.commands.options import Config, Json, Overrides
from mlpeft.launch import INTERRUPTED
from mlpeft.platform.process import asked_to_stop

if TYPE_CHECKING:
    from mlpeft.training.loop import TrainResult


def train(
    config: Config,
    overrides: Overrides = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on from the newest checkpoint.")
    ] = False,
    json_output: Json = False,
) -> None:
    """Meta-train on this machine, as configured.

    The run's folder (paths.checkpoint_dir/run.name) gets the resolved configuration,
    metrics.jsonl and checkpoints. Ctrl-C, SIGTERM or a closed terminal saves and says
    how to go on; a second one ends it at once.
    """
    from mlpeft.config import RunConfig
    from mlpeft.reporting import build_reporters, setup_logger
    from mlpeft.training.loop import train as run_training

    run_config = RunConfig.load(config, overrides or ())
    setup_logger("mlpeft", level=run_config.logging.log_level)
    go_on = again("mlpeft train", config, overrides)
    try:
        with asked_to_stop() as should_stop:
            result = run_training(
                run_config,
                reporter=build_reporters(run_config, console=not json_output),
                resume=resume,
                should_stop=should_stop,
            )
    except KeyboardInterrupt:
        text = f"Ended at once; what was saved stands. Go on with: {go_on}"
        typer.echo(text, err=True)
        raise typer.Exit(INTERRUPTED) from None
    tell_end(result, go_on, as_json=json_output)
    if result.reason == "stopped":
        raise typer.Exit(INTERRUPTED)


def tell_end(result: TrainResult, go_on: str, *, as_json: bool) -> None:
    """Print how a training ended, and what comes next.

    Args:
        result: How it ended.
        go_on: The command that goes on with it.
        as_json: For scripts.
    """
    import json
    import shlex

    if as_json:
        best = None if result.best is None else result.best.to_dict()
        record = {
            "run_dir": str(result.run_dir),
            "iteration": result.iteration,
            "reason": result.reason,
            "best": best,
        }
        say_last(json.dumps(record))
    elif result.reason == "stopped":
        say_last(
            f"Stopped and saved after meta-iteration {result.iteration}. Go on with: "
            f"{go_on}"
        )
    else:
        say_last(
            f"Done: {result.run_dir}. Next: mlpeft evaluate --checkpoint "
            f"{shlex.quote(str(result.run_dir))}"
        )
