"""`mlpeft train`: meta-train on this machine, or on an engine's workers."""

from __future__ import annotations

import shlex
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from mlpeft.commands.entry import again, say_last
from mlpeft.commands.options import Config, Json, Notify, Overrides, with_notify
from mlpeft.launch import INTERRUPTED
from mlpeft.platform.process import asked_to_stop
from mlpeft.runtime.engines.kinds import EngineKind

if TYPE_CHECKING:
    from collections.abc import Callable

    from mlpeft.training.loop import TrainResult


def train(
    config: Config,
    overrides: Overrides = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on from the newest checkpoint.")
    ] = False,
    engine: Annotated[
        EngineKind | None,
        typer.Option(
            help="Compute on workers of Dask or Ray (extras: dask, ray); by default "
            "this process computes.",
            show_default=False,
        ),
    ] = None,
    address: Annotated[
        str | None,
        typer.Option(
            help="Where the engine's scheduler is, such as tcp://HOST:8786 (Dask) or "
            "HOST:6379 (Ray).",
            show_default="workers on this machine",
        ),
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Worker processes of the engine on this machine.",
            show_default="engine.workers",
        ),
    ] = None,
    notify: Notify = None,
    json_output: Json = False,
) -> None:
    """Meta-train on this machine, or on an engine's workers, as configured.

    The run's folder (paths.checkpoint_dir/run.name) gets the resolved configuration,
    metrics.jsonl and checkpoints. Ctrl-C, SIGTERM or a closed terminal saves and says
    how to go on; a second one ends it at once. The result is the same bytes wherever it
    is computed.
    """
    from mlpeft.config import RunConfig
    from mlpeft.reporting import build_reporters, setup_logger

    _check_engine(engine, address, workers)
    changes = [*with_notify(overrides, notify)]
    if workers is not None:
        changes.append(f"engine.workers={workers}")
    run_config = RunConfig.load(config, changes)
    setup_logger("mlpeft", level=run_config.logging.log_level)
    words = ["mlpeft train", *(["--engine", engine] if engine else [])]
    words += ["--address", shlex.quote(address)] if address else []
    go_on = again(" ".join(words), config, changes)
    run_training = _training(engine, address)
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


def _check_engine(
    engine: EngineKind | None, address: str | None, workers: int | None
) -> None:
    """Refuse options that do not belong together."""
    if engine is None and (address is not None or workers is not None):
        name = "--workers" if address is None else "--address"
        raise typer.BadParameter("needs --engine dask or ray", param_hint=name)
    if address is not None and workers is not None:
        raise typer.BadParameter(
            "is for workers on this machine; those at --address are started there",
            param_hint="--workers",
        )


def _training(
    engine: EngineKind | None, address: str | None
) -> Callable[..., TrainResult]:
    """What trains: this process alone, or an engine."""
    if engine is None:
        from mlpeft.training.loop import train as run_training

        return run_training
    from mlpeft.runtime.engines.session import train_on_engine

    return partial(train_on_engine, kind=engine, address=address)


def tell_end(result: TrainResult, go_on: str, *, as_json: bool) -> None:
    """Print how a training ended, and what comes next.

    Args:
        result: How it ended.
        go_on: The command that goes on with it.
        as_json: For scripts.
    """
    import json

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
