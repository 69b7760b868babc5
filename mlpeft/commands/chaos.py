"""`mlpeft chaos`: does a training survive on this machine what machines do?"""

from __future__ import annotations

import json
import shutil
import tempfile
from dataclasses import asdict
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mlpeft.commands.options import Json, Overrides

if TYPE_CHECKING:
    from mlpeft.config import RunConfig
    from mlpeft.runtime.chaos import Verdict

FAILED = 1
"""Exit code if a promise did not hold."""


def chaos(
    config: Annotated[
        Path | None,
        typer.Option(
            "--config",
            "-c",
            help="The run's YAML file.",
            show_default="a small run that mlpeft brings",
        ),
    ] = None,
    overrides: Overrides = None,
    minutes: Annotated[float, typer.Option(min=0.05, help="How long.")] = 1.0,
    seed: Annotated[int, typer.Option(min=0, help="Decides what happens when.")] = 0,
    workers: Annotated[int, typer.Option(min=1, help="Worker processes.")] = 3,
    json_output: Json = False,
) -> None:
    """Train on this machine while processes die, freeze and lose each other.

    A coordinator and its workers are started on loopback, in a private folder. From a
    seeded schedule they are killed, frozen, slowed and restarted, their connections are
    cut and the coordinator's disk is filled. Then the same run is computed in one
    process, without faults; with --set cluster.mode=quorum or async it is computed
    again from what counted. Exit code 0 if it has the same bytes and no process is
    left; the folder is then removed.
    """
    from mlpeft.commands.progress import progress_bar
    from mlpeft.runtime.chaos import Experiment

    folder = Path(tempfile.mkdtemp(prefix="mlpeft-chaos-"))
    seconds = minutes * 60
    experiment = Experiment(
        _config(config, overrides or []),
        folder,
        seed=seed,
        seconds=seconds,
        workers=workers,
    )
    try:
        with progress_bar("chaos", int(seconds), "s", quiet=json_output) as advance:
            verdict = experiment.run(advance)
    except BaseException:
        typer.echo(f"what was written is in {folder}", err=True)
        raise
    if json_output:
        typer.echo(json.dumps({"ok": verdict.is_good} | asdict(verdict), indent=1))
    else:
        _show(verdict)
    if not verdict.is_good:
        typer.echo(f"what was written is in {folder}", err=True)
        raise typer.Exit(FAILED)
    shutil.rmtree(folder, ignore_errors=True)


def _config(file: Path | None, overrides: list[str]) -> RunConfig:
    from mlpeft.config import RunConfig, parse_yaml

    if file is not None:
        return RunConfig.load(file, overrides)
    text = resources.files("mlpeft.runtime.chaos").joinpath("default.yaml")
    return RunConfig.from_dict(parse_yaml(text.read_text("utf-8")), overrides)


def _goodput(verdict: Verdict) -> str:
    if verdict.goodput is None:
        return ""
    return (
        f"goodput (seconds of tasks that counted / seconds of workers): "
        f"{verdict.goodput:.0%}\n"
    )


def _show(verdict: Verdict) -> None:
    from rich.markup import escape

    from mlpeft.reporting.terminal import output_console

    console = output_console()
    for fault, count in verdict.survived.items():
        why = verdict.impossible.get(fault)
        console.print(f"{fault:<24} {why or count}", soft_wrap=True)
    same = "the same bytes as" if verdict.same_bytes else "[red]other bytes than[/red]"
    console.print(
        f"{verdict.rounds} rounds in {verdict.runs} runs with {verdict.workers} "
        f"workers in {verdict.seconds:.0f} s; {same} {verdict.compared_with}\n"
        f"longest time without a finished round: {verdict.longest_stall_s:.1f} s\n"
        f"{_goodput(verdict)}"
        f"processes left: {verdict.orphans}",
        soft_wrap=True,
    )
    for problem in verdict.problems:
        console.print(f"[red]problem[/red] {escape(problem)}", soft_wrap=True)
