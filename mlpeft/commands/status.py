"""`mlpeft status`: what a coordinator is doing, and what it waits for."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from mlpeft.commands.options import Json

if TYPE_CHECKING:
    from mlpeft.cluster.status import ClusterStatus

TIMEOUT_S = 5.0


def status(
    coordinator: Annotated[
        str,
        typer.Option(envvar="MLPEFT_COORDINATOR", help="host:port of the coordinator."),
    ] = "127.0.0.1:50051",
    json_output: Json = False,
) -> None:
    """Show a coordinator's round, workers and leases, and what it waits for."""
    import json

    from mlpeft.rpc.address import join_address, split_address

    address = join_address(*split_address(coordinator, "--coordinator"))
    run, picture = _ask(address)
    if json_output:
        typer.echo(json.dumps({"run": run} | asdict(picture)))
        return
    _show(run, picture)


def _ask(address: str) -> tuple[str, ClusterStatus]:
    """Name of the run and a picture of its cluster."""
    import grpc

    from mlpeft.errors import MlpeftError
    from mlpeft.rpc import channel, codec

    with grpc.insecure_channel(address, options=channel.OPTIONS) as connection:
        try:
            data = connection.unary_unary(channel.STATUS)(b"", timeout=TIMEOUT_S)
        except grpc.RpcError as error:
            raise MlpeftError(
                f"no coordinator answers at {address}; is it running, and is this the "
                "address that it said it listens on?"
            ) from error
    return codec.decode_status(data)


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
