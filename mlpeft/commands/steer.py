"""`mlpeft drain`, `release`, `pause`, `resume`, `stop`: steering a coordinator."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mlpeft.commands.options import (
    IdentityFolder,
    Insecure,
    MaybeCoordinator,
    RunName,
)

if TYPE_CHECKING:
    from mlpeft.transport.rpc.control_codec import ControlRequest

Worker = Annotated[
    str, typer.Argument(help="As `mlpeft status` shows it.", metavar="WORKER")
]


def drain(
    worker: Worker,
    coordinator: MaybeCoordinator = None,
    run: RunName = None,
    identity: IdentityFolder = None,
    insecure: Insecure = False,
) -> None:
    """Let a worker finish the shard in hand and end its process."""
    from mlpeft.transport.rpc.control_codec import Action, ControlRequest

    _steer(ControlRequest(Action.DRAIN, worker), coordinator, run, identity, insecure)


def release(
    worker: Worker,
    coordinator: MaybeCoordinator = None,
    run: RunName = None,
    identity: IdentityFolder = None,
    insecure: Insecure = False,
) -> None:
    """Give a worker shards again that was quarantined for failing at too many."""
    from mlpeft.transport.rpc.control_codec import Action, ControlRequest

    _steer(ControlRequest(Action.RELEASE, worker), coordinator, run, identity, insecure)


def pause(
    coordinator: MaybeCoordinator = None,
    run: RunName = None,
    identity: IdentityFolder = None,
    insecure: Insecure = False,
) -> None:
    """Give no more shards to anybody; what is under way is finished and counts."""
    from mlpeft.transport.rpc.control_codec import Action, ControlRequest

    _steer(ControlRequest(Action.PAUSE), coordinator, run, identity, insecure)


def resume(
    coordinator: MaybeCoordinator = None,
    run: RunName = None,
    identity: IdentityFolder = None,
    insecure: Insecure = False,
) -> None:
    """Go on after `mlpeft pause`."""
    from mlpeft.transport.rpc.control_codec import Action, ControlRequest

    _steer(ControlRequest(Action.RESUME), coordinator, run, identity, insecure)


def stop(
    coordinator: MaybeCoordinator = None,
    run: RunName = None,
    identity: IdentityFolder = None,
    insecure: Insecure = False,
) -> None:
    """End the run after the round under way: saved, and ready to go on."""
    from mlpeft.transport.rpc.control_codec import Action, ControlRequest

    _steer(ControlRequest(Action.STOP), coordinator, run, identity, insecure)


def _steer(
    request: ControlRequest,
    coordinator: str | None,
    run: str | None,
    identity: Path | None,
    insecure: bool,
) -> None:
    from mlpeft.reporting.terminal import printable
    from mlpeft.runtime.client import ask, find
    from mlpeft.transport.rpc import channel, control_codec

    address, shown = find(coordinator, identity, insecure=insecure, run=run)
    question = control_codec.encode_request(request)
    answer = ask(address, shown, channel.CONTROL, question)
    typer.echo(printable(control_codec.decode_response(answer)))
