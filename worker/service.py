"""`mlpeft-worker install` and `uninstall`: a worker that macOS keeps running."""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from mlpeft.commands.options import (
    IdentityFolder,
    Insecure,
    MaybeCoordinator,
    RunName,
)
from mlpeft.errors import MlpeftError
from mlpeft.platform import launchd, shell
from mlpeft.platform.home import home
from worker.owner import InHours, OnPower, WhenCool, WhenIdle, read_conditions

LABEL = "org.mlpeft.worker"
PASSED_ON = ("PYTHONPATH", "SSL_CERT_FILE")
"""Variables that a service gets beside all that begin with MLPEFT_."""

DryRun = Annotated[
    bool,
    typer.Option("--dry-run", help="Only show what would be written and run."),
]


def install(
    coordinator: MaybeCoordinator = None,
    name: WorkerName = None,
    allow_module: AllowModule = None,
    allow_sleep: AllowSleep = False,
    when_idle: WhenIdle = None,
    on_power: OnPower = False,
    when_cool: WhenCool = False,
    hours: InHours = None,
    run_name: RunName = None,
    identity: IdentityFolder = None,
    insecure: Insecure = False,
    dry_run: DryRun = False,
) -> None:
    """Have macOS start a worker at log-in, and again whenever it ends.

    It is a LaunchAgent of this user; its log is in ~/Library/Logs/mlpeft. Join the
    cluster first (`mlpeft-worker join TOKEN`). Run it again to change an option.
    """
    arguments = [sys.executable, "-m", "worker.cli"]
    if coordinator is not None:
        arguments += ["--coordinator", coordinator]
    if name is not None:
        arguments += ["--name", name]
    if run_name is not None:
        arguments += ["--run", run_name]
    for module in allow_module or ():
        arguments += ["--allow-module", module]
    if identity is not None:
        arguments += ["--identity", str(identity.absolute())]
    arguments += ["--allow-sleep"] * allow_sleep + ["--insecure"] * insecure
    # Read here: a mistake is to be told now, not to end up in a service's log.
    read_conditions(when_idle, on_power=on_power, when_cool=when_cool, hours=hours)
    arguments += ["--when-idle", when_idle] if when_idle else []
    arguments += ["--on-power"] * on_power + ["--when-cool"] * when_cool
    arguments += ["--hours", hours] if hours else []
    agent = _agent(arguments)
    if dry_run:
        typer.echo(agent.plist().decode())
        _show(agent.path, launchd.load_command(agent.path, os.getuid()))
        return
    _need_macos("run the worker from a service manager of your system", arguments)
    answer = launchd.install(agent, os.getuid(), shell.run)
    if answer.code != 0:
        command = shlex.join(launchd.load_command(agent.path, os.getuid()))
        raise MlpeftError(
            f"launchd did not take {agent.path}: {answer.text.strip()}; log in at this "
            f"Mac's screen (not over SSH alone) and run: {command}"
        )
    typer.echo(f"wrote {agent.path}")
    typer.echo(f"ran {shlex.join(launchd.load_command(agent.path, os.getuid()))}")
    typer.echo(
        f"The worker runs; its log is {agent.log}. If it finds no coordinator there: "
        "mlpeft doctor"
    )


def uninstall(dry_run: DryRun = False) -> None:
    """End the worker that `install` set up, and have macOS forget it."""
    agent = _agent([])
    command = launchd.unload_command(LABEL, os.getuid())
    if dry_run:
        typer.echo(f"would run: {shlex.join(command)}")
        typer.echo(f"would remove: {agent.path}")
        return
    _need_macos("remove it from the service manager that runs it", [])
    there = agent.path.exists()
    answer = launchd.uninstall(agent.path, LABEL, os.getuid(), shell.run)
    if answer is not None and answer.code != 0:
        raise MlpeftError(
            f"launchd did not end the worker: {answer.text.strip()}; run: "
            f"{shlex.join(command)}"
        )
    if answer is not None:
        typer.echo(f"ran {shlex.join(command)}")
    text = f"removed {agent.path}" if there else "no worker was installed"
    typer.echo(text)


def _agent(arguments: list[str]) -> launchd.LaunchAgent:
    folder = home()
    environment = {
        name: value
        for name, value in os.environ.items()
        if name.startswith("MLPEFT_") or name in PASSED_ON
    }
    return launchd.LaunchAgent(
        label=LABEL,
        arguments=arguments,
        environment=environment,
        log=folder / "Library" / "Logs" / "mlpeft" / "worker.log",
        home=folder,
    )


def _show(path: Path, command: list[str]) -> None:
    typer.echo(f"would write the above to: {path}")
    typer.echo(f"would run: {shlex.join(command)}")


def _need_macos(remedy: str, arguments: list[str]) -> None:
    if sys.platform == "darwin":
        return
    what = f": {shlex.join(arguments)}" if arguments else ""
    raise MlpeftError(
        f"launchd is macOS's and this is {sys.platform}; {remedy}{what} (--dry-run "
        "shows what a Mac would do)"
    )


WorkerName = Annotated[
    str | None,
    typer.Option(
        "--name", help="What to call this worker.", show_default="host and pid"
    ),
]
AllowModule = Annotated[
    list[str] | None,
    typer.Option(
        help="A Python module of yours that a run's configuration may name; may be "
        "given again.",
        show_default=False,
    ),
]
AllowSleep = Annotated[
    bool,
    typer.Option("--allow-sleep", help="Let this Mac fall asleep while it computes."),
]
