"""The `mlpeft-worker` command."""

from __future__ import annotations

import dataclasses
import os
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mlpeft.commands.entry import FAILED, run
from mlpeft.commands.options import (
    DEFAULT_CACHE_GB,
    CacheDir,
    CacheGb,
    IdentityFolder,
    Insecure,
    MaybeCoordinator,
    RunName,
)
from mlpeft.errors import ConfigError
from mlpeft.platform.process import end_with_input
from worker.owner import InHours, OnPower, WhenCool, WhenIdle, read_conditions
from worker.service import AllowModule, AllowSleep, WorkerName, install, uninstall
from worker.storage import cache

if TYPE_CHECKING:
    from mlpeft.transport.security.identity import Identity

MOST_TOKEN = 4096
"""Characters that are read of a token."""
STANDARD_INPUT = "-"

app = typer.Typer(
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command()(install)
app.command()(uninstall)
app.command()(cache)


@app.callback(invoke_without_command=True)
def worker(
    context: typer.Context,
    coordinator: MaybeCoordinator = None,
    name: WorkerName = None,
    once: Annotated[
        bool, typer.Option("--once", help="End with the run, not wait for the next.")
    ] = False,
    allow_module: AllowModule = None,
    allow_sleep: AllowSleep = False,
    when_idle: WhenIdle = None,
    on_power: OnPower = False,
    when_cool: WhenCool = False,
    hours: InHours = None,
    tied: Annotated[
        bool,
        typer.Option(
            "--tied", help="End at once when standard input ends, for supervisors."
        ),
    ] = False,
    run_name: RunName = None,
    discovery: Annotated[
        bool,
        typer.Option(
            "--discovery/--no-discovery",
            help="Look for a coordinator on the network where none is named.",
        ),
    ] = True,
    identity: IdentityFolder = None,
    insecure: Insecure = False,
    cache_dir: CacheDir = None,
    cache_gb: CacheGb = DEFAULT_CACHE_GB,
    log_file: Annotated[
        Path | None,
        typer.Option(
            help="File that gets the log too, as JSON lines; `mlpeft logs FILE` shows "
            "it.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Compute shards for a coordinator.

    Configuration, data sets and pretrained models come from the coordinator; files are
    kept in the cache. The worker waits for one that is not up yet, and reconnects to
    one that went away. Ctrl-C finishes the shard in hand; a second one drops it.

    Without --coordinator it dials the one that was joined, else this machine's; where
    nobody answers there, it looks for one on the local network (DNS-SD).

    With --when-idle, --on-power, --when-cool or --hours the machine's owner comes
    first: what the worker holds goes back at once, and `mlpeft status` says why.

    For a coordinator on another machine, join it once: `join TOKEN`.
    """
    if context.invoked_subcommand is not None:
        return
    if tied:
        end_with_input()
    if coordinator is not None and run_name is not None:
        raise typer.BadParameter("--coordinator names one already", param_hint="--run")
    from mlpeft.platform import cache_folder
    from mlpeft.reporting import setup_logger
    from mlpeft.reporting.logs import log_to_file
    from mlpeft.reporting.terminal import printable
    from mlpeft.runtime.client import choose
    from mlpeft.transport.blobs.cache import BlobCache
    from worker.session import link_to, work

    address, shown = choose(coordinator, identity, insecure=insecure)
    search = coordinator is None and discovery
    link = link_to(address, shown, search=search, run=run_name, insecure=insecure)
    called = name or _default_name(shown)
    setup_logger("mlpeft")
    if log_file is not None:
        log_to_file("mlpeft", log_file, worker=called)
    stop = work(
        link,
        called,
        BlobCache(cache_dir or cache_folder(), round(cache_gb * 1e9)),
        once=once,
        allow_modules=tuple(allow_module or ()),
        allow_sleep=allow_sleep,
        conditions=read_conditions(
            when_idle, on_power=on_power, when_cool=when_cool, hours=hours
        ),
    )
    # The reason may be the coordinator's words, whoever that is.
    typer.echo(f"worker ends: {printable(stop.reason)}", err=True)
    if stop.failed:
        raise typer.Exit(FAILED)


@app.command()
def join(
    token: Annotated[
        str | None,
        typer.Argument(
            help="From `mlpeft-coordinator token`; -: read it from standard input, so "
            "that neither `ps` nor the shell's history has it.",
            show_default=False,
        ),
    ] = None,
    token_file: Annotated[
        Path | None, typer.Option(help="File that holds the token.")
    ] = None,
    name: Annotated[
        str | None,
        typer.Option(help="What to call this machine.", show_default="the host's name"),
    ] = None,
    address: Annotated[
        str | None,
        typer.Option(
            help="host:port where the coordinator takes joins.",
            show_default="the token's",
        ),
    ] = None,
    identity: IdentityFolder = None,
) -> None:
    """Join a cluster: get a certificate for a key that never leaves this machine."""
    from mlpeft.runtime.worker.enrol import enrol
    from mlpeft.transport.rpc.address import join_address, split_address
    from mlpeft.transport.security.folders import worker_folder
    from mlpeft.transport.security.token import JoinToken

    ticket = JoinToken.parse(_read_token(token, token_file))
    if address is not None:
        dialled = join_address(*split_address(address, "--address"))
        ticket = dataclasses.replace(ticket, address=dialled)
    made = enrol(ticket, identity or worker_folder(), name or _host_name())
    typer.echo(
        f"joined as {made.name}; the certificate is in {made.folder}. "
        f"Next: mlpeft-worker (it will dial {made.address})"
    )


def _read_token(token: str | None, file: Path | None) -> str:
    """The token as it was given: by itself, in a file or on standard input."""
    if (token is None) == (file is None):
        raise ConfigError(
            ["give a token, - to read it from standard input, or --token-file FILE"]
        )
    if file is not None:
        try:
            with file.open(encoding="ascii") as opened:
                return opened.read(MOST_TOKEN).strip()
        except (OSError, ValueError) as error:
            raise ConfigError([f"--token-file {file}: {error}"]) from error
    if token is not None and token != STANDARD_INPUT:
        return token
    if sys.stdin.isatty():
        typer.echo("token: ", err=True, nl=False)
    return sys.stdin.readline(MOST_TOKEN).strip()


def _host_name() -> str:
    return socket.gethostname().partition(".")[0]


def _default_name(identity: Identity | None) -> str:
    return identity.name if identity else f"{_host_name()}-{os.getpid()}"


def main() -> None:
    """Run the command; an expected error is one clear message and exit code 2."""
    run(app)


if __name__ == "__main__":
    main()
