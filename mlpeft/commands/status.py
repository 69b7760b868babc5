"""`mlpeft status`: what a coordinator is doing, and what it waits for."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import typer

from mlpeft.commands.options import IdentityFolder, Insecure, Json, MaybeCoordinator

if TYPE_CHECKING:
    from mlpeft.cluster.status import ClusterStatus


def status(
    coordinator: MaybeCoordinator = None,
    json_output: Json = False,
    identity: IdentityFolder = None,
    insecure: Insecure = False,
) -> None:
    """Show a coordinator's round, workers and leases, and what it waits for."""
    import json

    from mlpeft.commands.ask import ask
    from mlpeft.commands.peer import choose_to_steer
    from mlpeft.rpc import channel, status_codec

    address, shown = choose_to_steer(coordinator, identity, insecure=insecure)
    run, picture = status_codec.decode_status(ask(address, shown, channel.STATUS, b""))
    if json_output:
        typer.echo(json.dumps({"run": run} | asdict(picture)))
        return
    _show(run, picture)


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
