"""Which coordinator a command is about: dialled as usual, else found on the network."""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING

import typer

from mlpeft.commands.ask import CoordinatorGoneError
from mlpeft.commands.peer import choose_to_steer
from mlpeft.rpc.address import split_address
from mlpeft.security.certificates import fingerprint

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from mlpeft.discovery.announcement import Announcement
    from mlpeft.security.identity import Identity

    Look = Callable[[], Awaitable[tuple[Announcement, ...]]]

REACH_S = 1.0
"""How long an address may take to answer before the network is searched."""


def find(
    coordinator: str | None,
    folder: Path | None,
    *,
    insecure: bool,
    run: str | None = None,
    look: Look | None = None,
) -> tuple[str, Identity | None]:
    """The address to dial and the identity to show, as a worker would find it.

    Where no address is named and nobody answers at the usual one, it is the one
    coordinator of the local network that a worker of this machine would dial. That is
    said, and trusted no more than an address that somebody typed.

    Args:
        coordinator: host:port; nobody is looked for then.
        folder: Of the identity, if one was named.
        insecure: Whether the user wants no protection.
        run: Name of the run to look for; then the usual address is left out.
        look: Who announces themselves; None: those on the local network.

    Raises:
        CoordinatorGoneError: If there is none, with what the user can do.
        MlpeftError: As `choose_to_steer`.
    """
    if coordinator is not None and run is not None:
        raise typer.BadParameter("--coordinator names one already", param_hint="--run")
    address, shown = choose_to_steer(coordinator, folder, insecure=insecure)
    if coordinator is not None or (run is None and _answers(address)):
        return address, shown
    nobody = "" if run else f"no coordinator answers at {address}, and "
    chosen, reason = _on_the_network(look, run, shown, insecure=insecure)
    if chosen is None:
        raise CoordinatorGoneError(f"{nobody}{reason}; {BY_HAND}")
    for at in chosen.dialled:
        if _answers(at):
            typer.echo(f"{reason}; asking it at {at}", err=True)
            return at, shown
    tried = ", ".join(chosen.dialled)
    raise CoordinatorGoneError(
        f"{nobody}{reason}, but it does not answer at {tried}: is a firewall between? "
        f"{BY_HAND}"
    )


BY_HAND = "--coordinator host:port dials without looking"


def _on_the_network(
    look: Look | None, run: str | None, shown: Identity | None, *, insecure: bool
) -> tuple[Announcement | None, str]:
    """The one to dial and why, or None and why not."""
    from mlpeft.discovery import looking
    from mlpeft.discovery.choice import choose

    try:
        found = asyncio.run(_all(look or looking.look))
    except looking.NetworkClosedError as error:
        return None, f"there is no looking for others ({error})"
    ca = None if shown is None else fingerprint(shown.ca)
    return choose(found, run=run, ca=ca, insecure=insecure)


async def _all(look: Look) -> tuple[Announcement, ...]:
    return await look()


def _answers(address: str) -> bool:
    """Whether somebody takes connections there."""
    host, port = split_address(address, "the coordinator")
    try:
        socket.create_connection((host, port), REACH_S).close()
    except OSError:
        return False
    return True
