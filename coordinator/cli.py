"""The `mlpeft-coordinator` command."""

from __future__ import annotations

import shlex
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from coordinator.security_commands import check_entry, init, token, workers
from mlpeft.commands.entry import again, run
from mlpeft.commands.options import DASHBOARD, Json, Notify, Overrides, with_notify
from mlpeft.commands.train import tell_end
from mlpeft.config import RunConfig
from mlpeft.launch import INTERRUPTED
from mlpeft.transport.rpc.address import split_address

if TYPE_CHECKING:
    from coordinator.queued import Turn

app = typer.Typer(
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command()(init)
app.command()(token)
app.add_typer(workers, name="workers")


@app.callback(invoke_without_command=True)
def coordinator(
    context: typer.Context,
    config: Annotated[
        Path | None,
        typer.Option("--config", "-c", help="The run's YAML file.", show_default=False),
    ] = None,
    overrides: Overrides = None,
    listen: Annotated[
        str | None,
        typer.Option(
            help="host:port to listen on; port 0 takes any that is free.",
            show_default="cluster.listen",
        ),
    ] = None,
    local_workers: Annotated[
        int, typer.Option(min=0, help="Workers to start on this machine.")
    ] = 0,
    processes: Annotated[
        bool,
        typer.Option(
            "--processes",
            help="Give each local worker a process of its own, with one BLAS thread; "
            "one that dies is started again.",
        ),
    ] = False,
    resume: Annotated[
        bool,
        typer.Option("--resume", help="Go on with a run; there must be one."),
    ] = False,
    security: Annotated[
        Path | None,
        typer.Option(
            help="Folder of certificates, from `init`; if named, TLS on loopback too.",
            show_default="the user's",
        ),
    ] = None,
    insecure: Annotated[
        bool,
        typer.Option(
            "--insecure", help="Let anybody in, in the clear, whatever the address."
        ),
    ] = False,
    discovery: Annotated[
        bool | None,
        typer.Option(
            "--discovery/--no-discovery",
            help="Announce it on the local network, so that workers find it.",
            show_default="cluster.discovery: off loopback",
        ),
    ] = None,
    dashboard: Annotated[
        str | None,
        typer.Option(
            help="Serve a live page of the run at this host:port, such as "
            f"{DASHBOARD} (extra: dashboard).",
            metavar="HOST:PORT",
            show_default=False,
        ),
    ] = None,
    notify: Notify = None,
    queued: Annotated[
        bool, typer.Option("--queued", help="For mlpeft queue run.", hidden=True)
    ] = False,
    json_output: Json = False,
) -> None:
    """Meta-train on a cluster of workers.

    Workers join and leave at any time (mlpeft-worker --coordinator HOST:PORT). The
    result is the same bytes as that of `mlpeft train`. Ctrl-C saves, tells the workers
    and says how to go on. After that, or if it was killed, the same command goes on
    from the newest checkpoint; of a run that is done it tells the workers.

    Off loopback it takes TLS and a join secret: `init` makes them, once.
    """
    if context.invoked_subcommand is not None:
        return
    if config is None:
        raise typer.BadParameter("needed to start a run", param_hint="--config")
    if processes and not local_workers:
        raise typer.BadParameter("needs --local-workers N", param_hint="--processes")
    options = {
        f"--listen {listen}": listen is not None,
        f"--local-workers {local_workers}": local_workers,
        "--processes": processes,
        f"--security {shlex.quote(str(security))}": security is not None,
        "--insecure": insecure,
        f"--dashboard {dashboard}": dashboard is not None,
    }
    words = ["mlpeft-coordinator", *(text for text, given in options.items() if given)]
    changes = with_notify(_with_discovery(overrides, discovery), notify)
    turn = _turn(config) if queued else None
    go_on = turn.again if turn else again(" ".join(words), config, changes)
    from coordinator.session import Endpoint, run_on_cluster
    from mlpeft.reporting import setup_logger

    with turn.reported() if turn else nullcontext():
        run_config = RunConfig.load(config, changes)
        host, port = split_address(listen or run_config.cluster.listen, "--listen")
        setup_logger("mlpeft", level=run_config.logging.log_level)
        place = Endpoint(
            host=host,
            port=port,
            authority=check_entry(host, security, insecure=insecure),
            local_workers=local_workers,
            processes=processes,
            dashboard=dashboard,
            insecure=insecure,
        )
        try:
            result, by_signal = run_on_cluster(
                run_config,
                place,
                resume=resume,
                console=not json_output,
                following=turn.following if turn else str,
            )
        except KeyboardInterrupt:
            text = f"Ended at once; what was saved stands. Go on with: {go_on}"
            typer.echo(text, err=True)
            raise typer.Exit(INTERRUPTED) from None
        if turn:
            turn.done(result)
    tell_end(result, go_on, as_json=json_output)
    if result.reason == "stopped" and by_signal:
        raise typer.Exit(INTERRUPTED)


def _turn(config: Path) -> Turn:
    """The run's turn in a queue; its packages are not needed by other starts."""
    from coordinator.queued import Turn

    return Turn(config)


def _with_discovery(overrides: list[str] | None, wanted: bool | None) -> list[str]:
    """The overrides, and what --discovery says as one more."""
    if wanted is None:
        return overrides or []
    return [*(overrides or ()), f"cluster.discovery={str(wanted).lower()}"]


def main() -> None:
    """Run the command; an expected error is one clear message and exit code 2."""
    run(app)


if __name__ == "__main__":
    main()
