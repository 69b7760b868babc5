"""Which coordinator a command dials, and what it shows there."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from mlpeft.rpc.address import (
    is_loopback,
    is_socket,
    join_address,
    split_address,
)
from mlpeft.rpc.diagnose import takes_tls
from mlpeft.security import identity
from mlpeft.security.certificates import RENEW_DAYS
from mlpeft.security.folders import (
    SecurityError,
    coordinator_folder,
    worker_folder,
)
from mlpeft.security.operator import operator_folder

if TYPE_CHECKING:
    from pathlib import Path

    from mlpeft.security.identity import Identity

DEFAULT = "127.0.0.1:50051"


def choose(
    coordinator: str | None, folder: Path | None, *, insecure: bool
) -> tuple[str, Identity | None]:
    """The address to dial and the identity to show; None: in the clear.

    Nothing is said in the clear to another machine, unless the user says so. On this
    one, TLS is for the coordinator that was joined, or if an identity is named.

    Args:
        coordinator: host:port, or a socket, whose folder guards it; None: the one that
            was joined, else loopback.
        folder: Of the identity, if one was named.
        insecure: Whether the user wants no protection.

    Raises:
        ConfigError: If the address is none.
        SecurityError: If an identity is needed, and there is none that can be used.
    """
    if coordinator is not None and is_socket(coordinator):
        return coordinator, None
    if insecure:
        if folder is not None:
            raise SecurityError("--identity and --insecure exclude each other")
        return _address(coordinator or DEFAULT), None
    place = folder or worker_folder()
    held = identity.load(place) if folder or identity.exists(place) else None
    if coordinator is None:
        address = held.address if held else DEFAULT
    else:
        address = _address(coordinator)
    host, _ = split_address(address, "--coordinator")
    if held is None and not is_loopback(host):
        held = identity.load(place)
    if folder is None and held and is_loopback(host) and address != held.address:
        held = None
    if held is not None:
        _warn_of_end(held)
    return address, held


def choose_to_steer(
    coordinator: str | None, folder: Path | None, *, insecure: bool
) -> tuple[str, Identity | None]:
    """As `choose`, but on a head node with the identity that its coordinator made.

    Without that, or where another coordinator is meant, it is what `choose` says.
    """
    place = operator_folder(coordinator_folder())
    named = insecure or folder is not None
    named = named or (coordinator is not None and is_socket(coordinator))
    if named or not identity.exists(place):
        return choose(coordinator, folder, insecure=insecure)
    held = identity.load(place)
    joined = identity.exists(worker_folder())
    address = held.address if coordinator is None else _address(coordinator)
    if address == held.address:
        tls = takes_tls(address)
        if tls or (tls is None and not joined):
            return address, held
        if tls is False:  # it was started without since, and tells anybody here
            return choose(address, None, insecure=False)
    elif not joined and not is_loopback(split_address(address, "--coordinator")[0]):
        return address, held
    return choose(coordinator, folder, insecure=insecure)


def _address(text: str) -> str:
    return join_address(*split_address(text, "--coordinator"))


def _warn_of_end(held: Identity) -> None:
    days = held.days_left()
    if days < RENEW_DAYS:
        typer.secho(
            f"the certificate in {held.folder} ends in {max(0, days):.0f} days; join "
            "again with a token to renew it",
            err=True,
            fg="yellow",
        )
