"""The coordinator's presence on the local network: announced while it runs."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from mlpeft.rpc.address import is_loopback
from mlpeft.rpc.wire import PROTOCOL_VERSION
from mlpeft.security.certificates import fingerprint

if TYPE_CHECKING:
    from mlpeft.config import RunConfig
    from mlpeft.discovery.announcer import Announcer
    from mlpeft.node.hub import Hub
    from mlpeft.security.authority import Authority


def wants_presence(config: RunConfig, host: str) -> bool:
    """Whether a coordinator that listens on this host is to announce itself."""
    wanted = config.cluster.discovery
    return not is_loopback(host) if wanted is None else wanted


class Presence:
    """An announcement, from now to `close`. Making it takes a second, on the side.

    Args:
        address: host:port that the coordinator listens on.
        hub: What is announced.
        authority: Who may enter; None: anybody, in the clear.
    """

    def __init__(self, address: str, hub: Hub, authority: Authority | None) -> None:
        ca = "" if authority is None else fingerprint(authority.ca_certificate)
        self._announcing = asyncio.create_task(_announce(address, hub, ca))

    async def close(self) -> None:
        """Take the announcement back."""
        announcer = await self._announcing
        if announcer is not None:
            await announcer.close()


async def _announce(address: str, hub: Hub, ca: str) -> Announcer | None:
    from mlpeft.discovery.announcer import Announcer

    return await Announcer.start(
        address,
        run=hub.config.run.name,
        session=hub.session,
        protocol=PROTOCOL_VERSION,
        ca=ca,
    )
