"""The `mlpeft-coordinator` command."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from coordinator.security_commands import check_entry, init, token, workers
from mlpeft.commands.entry import again, run
from mlpeft.commands.options import Json, Overrides
from mlpeft.commands.train import INTERRUPTED, asked_to_stop, tell_end
from mlpeft.config import RunConfig
from mlpeft.node import versions
from mlpeft.rpc.address import split_address

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
        int, typer.Option(min=0, help="Workers to start in this process.")
    ] = 0,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume", help="Go on, also with a run that is done; there must be one."
        ),
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
    json_output: Json = False,
) -> None:
    """Meta-train on a cluster of workers.

    Workers join and leave at any time (mlpeft-worker --coordinator HOST:PORT). The
    result is the same bytes as that of `mlpeft train`. Ctrl-C saves, tells the workers
    and says how to go on. After that, or if it was killed, the same command goes on
    from the newest checkpoint.

    Off loopback it takes TLS and a join secret: `init` makes them, once.
    """
    if context.invoked_subcommand is not None:
        return
    if config is None:
        raise typer.BadParameter("needed to start a run", param_hint="--config")
    from coordinator.runtime import ClusterExecutor, Runtime
    from mlpeft.blobs.offer import Offer
    from mlpeft.meta.runner import ShardRunner
    from mlpeft.node import fingerprint
    from mlpeft.node.prepare import prepare
    from mlpeft.reporting import Reporters, build_reporters, setup_logger
    from mlpeft.run_lock import locked
    from mlpeft.runs import begin_or_go_on, check_unfinished, run_folder
    from mlpeft.train import train_run

    run_config = RunConfig.load(config, overrides or ())
    host, port = split_address(listen or run_config.cluster.listen, "--listen")
    setup_logger("mlpeft", level=run_config.logging.log_level)
    authority = check_entry(host, security, insecure=insecure)
    # All that can be refused comes before the port: nobody is to join for nothing.
    with locked(run_folder(run_config)):
        runner = ShardRunner.from_config(run_config)
        run_state = begin_or_go_on(runner, resume=True if resume else None)
        if not resume:
            check_unfinished(run_state)
        reporter = build_reporters(run_config, console=not json_output)
        runtime = Runtime(
            runner.config,
            fingerprint.of(runner),
            versions.here(),
            prepare,
            authority,
            Offer.of(runner.config),
        )
        reason = "the coordinator failed"
        with asked_to_stop() as should_stop:
            try:
                address = runtime.start(host, port, local_workers)
                typer.echo(
                    f"listening on {address}: {runtime.invitation}",
                    err=True,
                )
                if runtime.join_address is not None:
                    typer.echo(
                        f"taking joins on {runtime.join_address}: mlpeft-worker join "
                        "TOKEN",
                        err=True,
                    )
                result = train_run(
                    run_state,
                    runner,
                    executor=ClusterExecutor(runtime, should_stop),
                    reporter=Reporters([runtime.reporter, reporter]),
                    should_stop=lambda: should_stop() or runtime.stopping(),
                )
                reason = f"run {run_config.run.name}: {result.reason}"
            finally:
                runtime.close(reason)
    command = "mlpeft-coordinator"
    if listen is not None:
        command += f" --listen {listen}"
    if local_workers:
        command += f" --local-workers {local_workers}"
    if security is not None:
        command += f" --security {shlex.quote(str(security))}"
    if insecure:
        command += " --insecure"
    tell_end(result, again(command, config, overrides), as_json=json_output)
    if result.reason == "stopped" and should_stop():
        raise typer.Exit(INTERRUPTED)


def main() -> None:
    """Run the command; an expected error is one clear message and exit code 2."""
    run(app)


if __name__ == "__main__":
    main()
