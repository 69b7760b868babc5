"""The worker's side: who announces a coordinator just now."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from zeroconf import Error, InterfaceChoice, ServiceListener
from zeroconf.asyncio import AsyncServiceBrowser, AsyncServiceInfo, AsyncZeroconf

from mlpeft.discovery.announcement import SERVICE_TYPE, Announcement, from_service
from mlpeft.errors import MlpeftError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from zeroconf import Zeroconf

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
