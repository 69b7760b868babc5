"""Browses for announced coordinators, and selects the one to dial."""

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


FIRST_S = 3.0
"""Seconds to wait for the first coordinator."""
MORE_S = 0.5
"""Seconds to wait for others after one was found."""
ANSWER_S = 1.0
"""Seconds that a service may take to resolve."""
MAX_SERVICES = 64
"""Services to resolve; more are a mistake or an attack."""


def select(
    announcements: Sequence[Announcement],
    *,
    run: str | None,
    ca: str | None,
    insecure: bool,
) -> tuple[Announcement | None, str]:
    """Select the coordinator to dial, with the reason; or None, and what to do.

    A worker with a certificate dials only coordinators of its CA, whose certificate
    then proves it. A worker without one dials coordinators without TLS: those of its
    own machine, and others only with `insecure`. If several remain, the user decides.

    Args:
        announcements: The announced coordinators.
        run: Name of the run that the user wants; None: any.
        ca: Digest of the CA that this worker joined; None: it has no certificate.
        insecure: Whether the user trusts everybody on the network.
    """
    wanted = [each for each in announcements if run in (None, each.run)]
    if not announcements:
        return None, "no coordinator announces itself on this network (_mlpeft._tcp)"
    if not wanted:
        others = _listed(announcements)
        return None, f"no coordinator of run {run} announces itself, but {others}"
    usable = [each for each in wanted if _obstacle(each, ca, insecure) is None]
    if len(usable) == 1:
        return usable[0], f"found {usable[0]}"
    if not usable:
        obstacles = (f"{each}: {_obstacle(each, ca, insecure)}" for each in wanted[:4])
        return None, f"found {'; '.join(obstacles)}"
    if len({each.run for each in usable}) == len(usable):
        options = " or ".join(f"--run {each.run}" for each in usable)
        return None, f"found {_listed(usable)}; select one with {options}"
    return None, f"found {_listed(usable)}; select one with --coordinator host:port"


def _obstacle(announcement: Announcement, ca: str | None, insecure: bool) -> str | None:
    """Why a worker must not dial a coordinator, and what to do; or None."""
    if ca is not None:
        if not announcement.ca:
            return "it does not use TLS, and this machine joined a cluster with TLS"
        if announcement.ca != ca:
            return "it is of another cluster than the one that this machine joined"
        return None
    if announcement.ca:
        return (
            "it requires a certificate; run: mlpeft-worker join TOKEN "
            "(`mlpeft-coordinator token` on the head node prints one)"
        )
    if announcement.is_local or insecure:
        return None
    return "it does not use TLS; --insecure if everybody on this network is trusted"


def _listed(announcements: Sequence[Announcement], limit: int = 4) -> str:
    rest = len(announcements) - limit
    listed = ", ".join(map(str, announcements[:limit]))
    return f"{listed} and {rest} more" if rest > 0 else listed


class NetworkClosedError(MlpeftError):
    """This machine's network does not allow browsing."""


async def browse(
    first_s: float = FIRST_S,
    interfaces: Sequence[str] | None = None,
) -> tuple[Announcement, ...]:
    """Find the announced coordinators, sorted by run and host.

    Args:
        first_s: Seconds to wait for the first one.
        interfaces: Addresses of the interfaces to browse; None: all.

    Raises:
        NetworkClosedError: If the network does not allow browsing.
    """
    try:
        zeroconf = AsyncZeroconf(
            interfaces=list(interfaces) if interfaces else InterfaceChoice.All
        )
    except (OSError, Error) as error:
        raise NetworkClosedError(f"this machine's network: {error}") from error
    listener = _NameQueue()
    browser = AsyncServiceBrowser(zeroconf.zeroconf, SERVICE_TYPE, listener=listener)
    try:
        names = await _collect(listener.queue, first_s)
        resolved = await asyncio.gather(*(_resolve(zeroconf, name) for name in names))
    finally:
        await browser.async_cancel()
        await zeroconf.async_close()
    by_session = {each.session: each for each in resolved if each is not None}
    return tuple(sorted(by_session.values(), key=lambda each: (each.run, each.host)))


class _NameQueue(ServiceListener):
    """Queues the names of services as they appear."""

    def __init__(self) -> None:
        self.queue: asyncio.Queue[str] = asyncio.Queue()

    def add_service(self, zc: Zeroconf, type_: str, name: str) -> None:
        """Queue the name of a new service."""
        self.queue.put_nowait(name)

    def remove_service(self, zc: Zeroconf, type_: str, name: str) -> None:
        """Nothing: resolving the name will fail."""

    def update_service(self, zc: Zeroconf, type_: str, name: str) -> None:
        """Nothing: the name is resolved later."""


async def _collect(queue: asyncio.Queue[str], first_s: float) -> list[str]:
    """Collect names: wait for the first, then `MORE_S` after each."""
    names: list[str] = []
    wait_s = first_s
    try:
        while len(names) < MAX_SERVICES:
            async with asyncio.timeout(wait_s):
                names.append(await queue.get())
            wait_s = MORE_S
    except TimeoutError:
        pass
    return list(dict.fromkeys(names))


async def _resolve(zeroconf: AsyncZeroconf, name: str) -> Announcement | None:
    service = AsyncServiceInfo(SERVICE_TYPE, name)
    answered = await service.async_request(zeroconf.zeroconf, ANSWER_S * 1000)
    return from_service(service) if answered else None
