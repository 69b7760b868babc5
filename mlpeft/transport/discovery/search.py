"""Who announces a coordinator just now, and which of them may be dialled."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from zeroconf import Error, InterfaceChoice, ServiceListener
from zeroconf.asyncio import AsyncServiceBrowser, AsyncServiceInfo, AsyncZeroconf

from mlpeft.errors import MlpeftError
from mlpeft.transport.discovery.announcement import (
    SERVICE_TYPE,
    Announcement,
    from_service,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from zeroconf import Zeroconf

    from mlpeft.transport.discovery.announcement import Announcement


def choose(
    found: Sequence[Announcement], *, run: str | None, ca: str | None, insecure: bool
) -> tuple[Announcement | None, str]:
    """The one to dial and why; or None, and what the user can do.

    A worker with a certificate dials only coordinators of its CA, and finds out by
    their certificate whether they are. One without dials, in the clear, coordinators
    of its own machine, and others only if the user says so. Between several nobody
    but the user chooses.

    Args:
        found: Who announces themselves.
        run: Name of the run that the user wants; None: any.
        ca: Digest of the CA that this worker joined; None: it has no certificate.
        insecure: Whether the user trusts everybody on the network.
    """
    wanted = [one for one in found if run in (None, one.run)]
    if not found:
        return None, "no coordinator announces itself on this network (_mlpeft._tcp)"
    if not wanted:
        return None, f"no coordinator of run {run} announces itself, but {_list(found)}"
    able = [one for one in wanted if _obstacle(one, ca, insecure) is None]
    if len(able) == 1:
        return able[0], f"found {able[0]}"
    if not able:
        told = "; ".join(f"{one}: {_obstacle(one, ca, insecure)}" for one in wanted[:4])
        return None, f"found {told}"
    if len({one.run for one in able}) == len(able):
        names = " or ".join(f"--run {one.run}" for one in able)
        return None, f"found {_list(able)}; choose one with {names}"
    return None, f"found {_list(able)}; choose one with --coordinator host:port"


def _obstacle(one: Announcement, ca: str | None, insecure: bool) -> str | None:
    """What keeps a worker from dialling a coordinator, and what to do; or None."""
    if ca is not None:
        if not one.ca:
            return "it talks in the clear, and this machine joined a cluster with TLS"
        if one.ca != ca:
            return "of another cluster than the one that this machine joined"
        return None
    if one.ca:
        return (
            "it takes certificates; run: mlpeft-worker join TOKEN "
            "(`mlpeft-coordinator token` on the head node prints one)"
        )
    if one.is_local or insecure:
        return None
    return "it talks in the clear; --insecure if everybody on this network is trusted"


def _list(found: Sequence[Announcement], most: int = 4) -> str:
    rest = len(found) - most
    shown = ", ".join(map(str, found[:most]))
    return f"{shown} and {rest} more" if rest > 0 else shown


PATIENCE_S = 3.0
"""How long to look for a first coordinator."""
SETTLE_S = 0.5
"""How long to look for others once one is found."""
ANSWER_S = 1.0
"""How long one that was found may take to say where it is."""
MOST = 64
"""Services that are looked at; more are a mistake, or mischief."""


class NetworkClosedError(MlpeftError):
    """This machine's network does not let us look for anybody."""


async def look(
    patience_s: float = PATIENCE_S,
    interfaces: Sequence[str] | None = None,
) -> tuple[Announcement, ...]:
    """The coordinators that announce themselves, by run and host.

    Args:
        patience_s: How long to wait for the first one.
        interfaces: Addresses of the interfaces to look on; None: all.

    Raises:
        NetworkClosedError: If there is no looking.
    """
    try:
        zeroconf = AsyncZeroconf(
            interfaces=list(interfaces) if interfaces else InterfaceChoice.All
        )
    except (OSError, Error) as error:
        raise NetworkClosedError(f"this machine's network: {error}") from error
    names = _Names()
    browser = AsyncServiceBrowser(zeroconf.zeroconf, SERVICE_TYPE, listener=names)
    try:
        there = await _collect(names.queue, patience_s)
        found = await asyncio.gather(*(_ask(zeroconf, name) for name in there))
    finally:
        await browser.async_cancel()
        await zeroconf.async_close()
    unique = {one.session: one for one in found if one is not None}
    return tuple(sorted(unique.values(), key=lambda one: (one.run, one.host)))


class _Names(ServiceListener):
    """Takes in the names of services as they are heard of."""

    def __init__(self) -> None:
        self.queue: asyncio.Queue[str] = asyncio.Queue()

    def add_service(self, zc: Zeroconf, type_: str, name: str) -> None:
        """A service is there."""
        self.queue.put_nowait(name)

    def remove_service(self, zc: Zeroconf, type_: str, name: str) -> None:
        """A service is gone; asking it will show that."""

    def update_service(self, zc: Zeroconf, type_: str, name: str) -> None:
        """A service says something else; it is asked for all of it later."""


async def _collect(names: asyncio.Queue[str], patience_s: float) -> list[str]:
    """Names that come: until the first is there, and a little longer."""
    found: list[str] = []
    wait_s = patience_s
    try:
        while len(found) < MOST:
            async with asyncio.timeout(wait_s):
                found.append(await names.get())
            wait_s = SETTLE_S
    except TimeoutError:
        pass
    return list(dict.fromkeys(found))


async def _ask(zeroconf: AsyncZeroconf, name: str) -> Announcement | None:
    service = AsyncServiceInfo(SERVICE_TYPE, name)
    answered = await service.async_request(zeroconf.zeroconf, ANSWER_S * 1000)
    return from_service(service) if answered else None
