"""`mlpeft-coordinator init`, `token` and `workers`, and what a start checks."""

from __future__ import annotations

import json
import socket
import time
from pathlib import Path
from typing import Annotated

import typer

from mlpeft.commands.options import Json
from mlpeft.transport.rpc.address import is_loopback, join_address
from mlpeft.transport.security.authority import JOIN_PORT, Authority
from mlpeft.transport.security.folders import SecurityError, coordinator_folder
from mlpeft.transport.security.registry import OPERATOR, WORKER, EnrolledWorker

Folder = Annotated[
    Path | None,
    typer.Option("--dir", help="Folder of certificates.", show_default="the user's"),
]
Minutes = Annotated[
    float, typer.Option(min=0.01, help="How long the token is good for, in minutes.")
]

workers = typer.Typer(help="List and revoke workers.", no_args_is_help=True)


def init(
    folder: Folder = None,
    name: Annotated[
        list[str] | None,
        typer.Option(
            help="Host name or address of this machine, as workers dial it; the first "
            "goes into tokens. May be given again.",
            show_default="the host's name",
        ),
    ] = None,
    port: Annotated[
        int,
        typer.Option(
            min=1,
            max=65535,
            help="Where the coordinator takes joins; it and its tokens remember it.",
        ),
    ] = JOIN_PORT,
    minutes: Minutes = 60.0,
) -> None:
    """Make a CA, a server certificate and a first join token: once a cluster."""
    place = folder or coordinator_folder()
    names = [*(name or [socket.gethostname()]), "localhost", "127.0.0.1"]
    authority = Authority.create(place, list(dict.fromkeys(names)), join_port=port)
    typer.echo(
        f"CA and server certificate are in {place}. Keep it private: who can read it "
        "can let anybody in.",
        err=True,
    )
    _print_token(authority, authority.join_port, minutes)


def token(
    folder: Folder = None,
    name: Annotated[
        str | None,
        typer.Option(
            help="Where workers dial this machine.", show_default="as said to init"
        ),
    ] = None,
    port: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=65535,
            help="The run's cluster.join_port, where that names another.",
            show_default="as said to init",
        ),
    ] = None,
    minutes: Minutes = 60.0,
    operator: Annotated[
        bool,
        typer.Option(
            "--operator", help="Machines that join with it may steer runs as well."
        ),
    ] = False,
) -> None:
    """Make another join token; a running coordinator knows it at once."""
    authority = Authority(folder or coordinator_folder())
    role = OPERATOR if operator else WORKER
    _print_token(authority, port or authority.join_port, minutes, name, role)


@workers.command("list")
def list_workers(folder: Folder = None, json_output: Json = False) -> None:
    """Show who has a certificate, and what it is for."""
    records = Authority(folder or coordinator_folder()).workers()
    if json_output:
        typer.echo(json.dumps([_public(record) for record in records]))
        return
    _show(records)


@workers.command()
def revoke(
    name: Annotated[str, typer.Argument(help="As `workers list` shows it.")],
    folder: Folder = None,
) -> None:
    """Shut a worker out, at once, also from a running coordinator.

    All join tokens end with it: the machine that is shut out may know one.
    """
    Authority(folder or coordinator_folder()).revoke(name)
    typer.echo(f"{name} is shut out, and all join tokens have ended.")


def check_entry(
    host: str, security: Path | None, *, insecure: bool
) -> Authority | None:
    """Who may enter a coordinator that listens on a host; None: anybody, in the clear.

    Args:
        host: Where it listens.
        security: Folder of certificates, if one was named.
        insecure: Whether the user wants no protection.

    Raises:
        SecurityError: If others can reach it and there is no protection.
    """
    if insecure:
        if security is not None:
            raise SecurityError("--security and --insecure exclude each other")
        if not is_loopback(host):
            typer.secho(
                f"INSECURE: whoever can reach {host} can read and change this run, "
                "in the clear and without a secret",
                err=True,
                fg="red",
                bold=True,
            )
        return None
    if security is None and is_loopback(host):
        return None
    try:
        return Authority(security or coordinator_folder())
    except SecurityError as error:
        if is_loopback(host):
            raise
        raise SecurityError(
            f"{host} can be reached from other machines, so there must be TLS and a "
            f"join secret, but: {error}. (--insecure does without, where everybody on "
            "the network is trusted; 127.0.0.1 is for this machine only.)"
        ) from error


def _print_token(
    authority: Authority,
    port: int,
    minutes: float,
    name: str | None = None,
    role: str = WORKER,
) -> None:
    """The token alone on standard output, for scripts; what to do with it beside it."""
    address = join_address(name or authority.names[0], port)
    made = authority.new_token(address, minutes * 60, role)
    typer.echo(
        f"On each Mac, within {minutes:g} minutes, while the coordinator runs: "
        "mlpeft-worker join TOKEN, with this token:",
        err=True,
    )
    typer.echo(str(made))


def _public(record: EnrolledWorker) -> dict[str, str | float | bool]:
    return {
        "name": record.name,
        "serial": record.serial,
        "role": record.role,
        "state": _state(record),
        "issued": record.issued,
        "expires": record.expires,
    }


def _state(record: EnrolledWorker) -> str:
    if record.revoked is not None:
        return "revoked"
    return "expired" if record.expires < time.time() else "active"


def _show(records: tuple[EnrolledWorker, ...]) -> None:
    from rich.table import Table

    from mlpeft.reporting.terminal import output_console

    if not records:
        typer.echo("nobody has joined yet; `mlpeft-coordinator token` makes a token")
        return
    table = Table("name", "role", "state", "joined", "certificate ends", "serial")
    for record in records:
        table.add_row(
            record.name,
            record.role,
            _state(record),
            _date(record.issued),
            _date(record.expires),
            record.serial[:16],
        )
    output_console().print(table)


def _date(unix_time: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(unix_time))
