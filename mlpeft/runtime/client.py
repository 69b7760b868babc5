"""Which coordinator a command is about: found, dialled, and asked one question."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import typer

from mlpeft.config import ClusterSection
from mlpeft.errors import MlpeftError
from mlpeft.transport.discovery import find as discovery
from mlpeft.transport.rpc.address import (
    check_target,
    is_loopback,
    is_socket,
    join_address,
    split_address,
)
from mlpeft.transport.rpc.diagnose import takes_tls
from mlpeft.transport.security import identity
from mlpeft.transport.security.certificates import RENEW_DAYS, fingerprint
from mlpeft.transport.security.folders import (
    SecurityError,
    coordinator_folder,
    worker_folder,
)
from mlpeft.transport.security.operator import operator_folder

if TYPE_CHECKING:
    from pathlib import Path

    from mlpeft.transport.discovery.find import Look
    from mlpeft.transport.security.identity import Identity

TIMEOUT_S = 5.0


class CoordinatorGoneError(MlpeftError):
    """Nobody answers; somebody may, later."""


def ask(address: str, shown: Identity | None, method: str, question: bytes) -> bytes:
    """The answer to a unary call, over a connection of its own.

    Args:
        address: The coordinator's host:port.
        shown: What this side shows; None: in the clear.
        method: One of `rpc.channel`.
        question: Encoded.

    Raises:
        CoordinatorGoneError: If nobody answers.
        MlpeftError: If the coordinator says no, or something is to be put right.
    """
    import grpc

    from mlpeft.transport.rpc import credentials
    from mlpeft.transport.rpc.diagnose import obstacle, unresolved

    with credentials.blocking_channel(address, shown) as connection:
        try:
            answer: bytes = connection.unary_unary(method)(question, timeout=TIMEOUT_S)
        except grpc.RpcError as error:
            if error.code() in (
                grpc.StatusCode.PERMISSION_DENIED,
                grpc.StatusCode.NOT_FOUND,
                grpc.StatusCode.INVALID_ARGUMENT,
            ):
                raise MlpeftError(error.details()) from error
            if error.code() is grpc.StatusCode.UNIMPLEMENTED:
                raise MlpeftError(
                    f"the coordinator at {address} does not know this call; run the "
                    "same version of mlpeft on both sides"
                ) from error
            if error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED:
                raise MlpeftError(
                    f"the coordinator at {address} is there, but its answer is too "
                    f"large for one message ({error.details()}); `mlpeft logs` and the "
                    "metrics tell of a run with so many workers"
                ) from error
            reason = obstacle(address, shown)
            if reason is not None:
                raise MlpeftError(reason) from error
            raise CoordinatorGoneError(
                f"{unresolved(address)}no coordinator answers at {address}; is it "
                "running, and is this the address that it said it listens on?"
            ) from error
    return answer


DEFAULT = ClusterSection().listen
"""Where a coordinator is dialled that nobody named."""


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
    check_target(text, "--coordinator")
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
    if coordinator is not None:
        return address, shown
    ca = None if shown is None else fingerprint(shown.ca)
    try:
        found = asyncio.run(
            discovery.find(address, look, run=run, ca=ca, insecure=insecure)
        )
    except discovery.NobodyFoundError as error:
        raise CoordinatorGoneError(str(error)) from error
    if found.announcement is not None:
        typer.echo(f"{found.reason}; asking it at {found.address}", err=True)
    return found.address, shown
