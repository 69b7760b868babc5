"""`mlpeft status`: what a coordinator is doing, and what it waits for."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import typer

from mlpeft.commands.options import IdentityFolder, Insecure, Json, MaybeCoordinator

if TYPE_CHECKING:
    from mlpeft.cluster.status import ClusterStatus
    from mlpeft.security.identity import Identity

TIMEOUT_S = 5.0


def status(
    coordinator: MaybeCoordinator = None,
    json_output: Json = False,
    identity: IdentityFolder = None,
    insecure: Insecure = False,
) -> None:
    """Show a coordinator's round, workers and leases, and what it waits for."""
    import json

    from mlpeft.commands.peer import choose

    run, picture = _ask(*choose(coordinator, identity, insecure=insecure))
    if json_output:
        typer.echo(json.dumps({"run": run} | asdict(picture)))
        return
    _show(run, picture)


def _ask(address: str, shown: Identity | None) -> tuple[str, ClusterStatus]:
    """Name of the run and a picture of its cluster."""
    import grpc

    from mlpeft.errors import MlpeftError
    from mlpeft.rpc import channel, credentials, status_codec
    from mlpeft.rpc.diagnose import obstacle

    with credentials.blocking_channel(address, shown) as connection:
        try:
            data = connection.unary_unary(channel.STATUS)(b"", timeout=TIMEOUT_S)
        except grpc.RpcError as error:
            if error.code() is grpc.StatusCode.PERMISSION_DENIED:
                raise MlpeftError(error.details()) from error
            reason = obstacle(address, shown)
            if reason is not None:
                raise MlpeftError(reason) from error
            raise MlpeftError(
                f"no coordinator answers at {address}; is it running, and is this the "
                "address that it said it listens on?"
            ) from error
    return status_codec.decode_status(data)


def _show(run: str, picture: ClusterStatus) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console()
    console.print(f"run {run}: {picture.wait}", markup=False, highlight=False)
    if not picture.workers:
        return
    computing = {
        lease.worker: f"shard {lease.key.shard} for {lease.held_s:.0f} s, "
        f"{lease.tasks_done} of {lease.tasks} tasks"
        for lease in picture.leases
    }
    table = Table("worker", "device", "done", "failed", "silent", "computing")
    for worker in picture.workers:
        table.add_row(
            worker.name + (" (leaving)" if worker.draining else ""),
            worker.device,
            str(worker.shards_done),
            str(worker.failures),
            f"{worker.silent_s:.1f} s",
            computing.get(worker.name, "-"),
        )
    console.print(table)
