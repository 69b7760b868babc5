"""The coordinator's side: announces itself while it runs."""

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
    """Announces a coordinator until it is closed."""

    def __init__(self, zeroconf: AsyncZeroconf) -> None:
        self._zeroconf = zeroconf

    @classmethod
    async def start(
        cls, address: str, *, run: str, session: str, protocol: int, ca: str
    ) -> Self | None:
        """Announce; None if this machine's network does not let us, which is logged.

        Args:
            address: host:port that the coordinator listens on.
            run: See `Announcement`, as for the others.
            session: Likewise.
            protocol: Likewise.
            ca: Likewise.
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
                "this coordinator cannot announce itself on the network (%s); workers "
                "find it by its address: --coordinator HOST:PORT",
                error,
            )
            if zeroconf is not None:
                await zeroconf.async_close()
            return None
        log.info(
            "announced as %s for run %s on %s",
            SERVICE_TYPE.removesuffix(".local."),
            run,
            ", ".join(announcement.dialled),
        )
        return cls(zeroconf)

    async def close(self) -> None:
        """Take the announcement back."""
        await self._zeroconf.async_unregister_all_services()
        await self._zeroconf.async_close()


def _interfaces(announcement: Announcement) -> InterfaceChoice | list[str]:
    """Where to announce: nothing of a loopback coordinator leaves this machine."""
    if announcement.is_local:
        return [one for one in announcement.addresses if is_loopback(one)]
    return InterfaceChoice.All
