"""Announces a running coordinator by DNS-SD."""

from __future__ import annotations

import logging
import socket
from typing import TYPE_CHECKING

from zeroconf import Error, InterfaceChoice
from zeroconf.asyncio import AsyncZeroconf

from mlpeft.platform.network import own_addresses
from mlpeft.transport.discovery.announcement import (
    SERVICE_TYPE,
    Announcement,
    to_service,
)
from mlpeft.transport.rpc.address import is_loopback, split_address

if TYPE_CHECKING:
    from typing import Self

log = logging.getLogger("mlpeft.coordinator")


class Announcer:
    """An active announcement, until it is closed."""

    def __init__(self, zeroconf: AsyncZeroconf) -> None:
        self._zeroconf = zeroconf

    @classmethod
    async def start(
        cls, address: str, *, run: str, session: str, protocol: int, ca: str
    ) -> Self | None:
        """Announce a coordinator; logs a warning and returns None if that fails.

        Args:
            address: host:port on which the coordinator listens.
            run: As in `Announcement`.
            session: As in `Announcement`.
            protocol: As in `Announcement`.
            ca: As in `Announcement`.
        """
        host, port = split_address(address, "the coordinator")
        zeroconf: AsyncZeroconf | None = None
        try:
            announcement = Announcement(
                run=run,
                session=session,
                protocol=protocol,
                host=socket.gethostname(),
                ca=ca,
                port=port,
                addresses=own_addresses(host),
            )
            zeroconf = AsyncZeroconf(interfaces=_interfaces(announcement))
            await (await zeroconf.async_register_service(to_service(announcement)))
        except (OSError, Error) as error:
            log.warning(
                "cannot announce this coordinator on the network (%s); start workers "
                "with its address: --coordinator HOST:PORT",
                error,
            )
            if zeroconf is not None:
                await zeroconf.async_close()
            return None
        log.info(
            "announced as %s for run %s on %s",
            SERVICE_TYPE.removesuffix(".local."),
            run,
            ", ".join(announcement.endpoints),
        )
        return cls(zeroconf)

    async def close(self) -> None:
        """Withdraw the announcement."""
        await self._zeroconf.async_unregister_all_services()
        await self._zeroconf.async_close()


def _interfaces(announcement: Announcement) -> InterfaceChoice | list[str]:
    """Interfaces to announce on; a loopback coordinator stays on this machine."""
    if announcement.is_local:
        return [host for host in announcement.addresses if is_loopback(host)]
    return InterfaceChoice.All
