"""Finding the coordinator to dial: at the usual address, else on the local network.

Workers and commands find it in this one way. Who is found is trusted no more than an
address that somebody typed: certificates decide, when it is dialled.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mlpeft.errors import MlpeftError
from mlpeft.transport.rpc.address import split_address

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Container

    from mlpeft.transport.discovery.announcement import Announcement

    Look = Callable[[], Awaitable[tuple[Announcement, ...]]]

REACH_S = 1.0
"""How long an address may take to answer before the next is tried."""
BY_HAND = "--coordinator host:port dials without looking"


class NobodyFoundError(MlpeftError):
    """There is no coordinator to dial; the message says what the user can do."""


@dataclass(frozen=True, slots=True)
class Found:
    """A coordinator that takes connections.

    Attributes:
        address: Its host:port.
        own: The address of ours from which it was reached.
        announcement: What led to it; None: it is at the usual address.
        reason: Why it was chosen, for people; empty at the usual address.
    """

    address: str
    own: str
    announcement: Announcement | None = None
    reason: str = ""


async def find(
    usual: str,
    look: Look | None = None,
    *,
    run: str | None,
    ca: str | None,
    insecure: bool,
    passed_over: Container[str] = (),
) -> Found:
    """The coordinator at the usual address, else the one that the network offers.

    Args:
        usual: host:port to try first.
        look: Who announces themselves; None: those on the local network.
        run: Name of the run to look for; then the usual address is left out.
        ca: Digest of the CA that this machine joined; None: it has no certificate.
        insecure: Whether everybody on the network is trusted.
        passed_over: Addresses of announcements that are not to be followed.

    Raises:
        NobodyFoundError: If there is none yet.
    """
    own = await reach(usual) if run is None else None
    if own is not None:
        return Found(usual, own)
    from mlpeft.transport.discovery import search  # zeroconf is slow to import

    nobody = "" if run else f"no coordinator answers at {usual}, and "
    try:
        announced = await (look or search.browse)()
    except search.NetworkClosedError as error:
        raise NobodyFoundError(
            f"{nobody}there is no looking for others ({error}); {BY_HAND}"
        ) from error
    able = [
        one for one in announced if not any(at in passed_over for at in one.endpoints)
    ]
    chosen, reason = search.select(able, run=run, ca=ca, insecure=insecure)
    if chosen is None:
        hint = "" if announced else f"; {BY_HAND}"
        raise NobodyFoundError(f"{nobody}{reason}{hint}")
    for address in chosen.endpoints:
        own = await reach(address)
        if own is not None:
            return Found(address, own, chosen, reason)
    tried = ", ".join(chosen.endpoints)
    raise NobodyFoundError(
        f"{nobody}{reason}, but it does not answer at {tried}: is a firewall between? "
        f"{BY_HAND}"
    )


async def reach(address: str) -> str | None:
    """The address of ours from which another is reached; None if nobody answers."""
    host, port = split_address(address, "the coordinator")
    try:
        async with asyncio.timeout(REACH_S):
            _, writer = await asyncio.open_connection(host, port)
    except OSError:  # TimeoutError is one
        return None
    own = str(writer.get_extra_info("sockname")[0])
    writer.close()
    return own
