"""How workers come here: the command that starts one, and DNS-SD announcements."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from typing import TYPE_CHECKING

from mlpeft.cluster.protocol import PROTOCOL_VERSION
from mlpeft.transport.rpc.address import is_loopback, join_address, split_address
from mlpeft.transport.security.certificates import fingerprint

if TYPE_CHECKING:
    from mlpeft.config import RunConfig
    from mlpeft.runtime.coordinator.driver import CoordinatorDriver
    from mlpeft.transport.discovery.announcer import Announcer
    from mlpeft.transport.security.authority import Authority


def join_command(address: str, authority: Authority | None) -> str:
    """What to type on a machine that is to be a worker.

    Args:
        address: host:port that the coordinator listens on.
        authority: Who may enter; None: anybody, in the clear.
    """
    host, port = split_address(address, "the coordinator")
    dialled = join_address(_name_of(host, authority), port)
    command = f"mlpeft-worker --coordinator {dialled}"
    if authority is None and not is_loopback(host):
        command += " --insecure"
    return command


def advice(command: str, authority: Authority | None) -> str:
    """What a run that has no worker tells whoever looks at it.

    Args:
        command: From `join_command`.
        authority: Who may enter; None: anybody, in the clear.
    """
    if authority is None:
        return f"`{command}`"
    return (
        f"`{command}`; a machine that is new joins before that, with `mlpeft-worker "
        "join TOKEN` (`mlpeft-coordinator token` prints a token)"
    )


def _name_of(host: str, authority: Authority | None) -> str:
    """A name that other machines can dial: 0.0.0.0 is none."""
    try:
        everywhere = ipaddress.ip_address(host).is_unspecified
    except ValueError:
        everywhere = False
    if not everywhere:
        return host
    return authority.names[0] if authority is not None else socket.gethostname()


def wants_presence(config: RunConfig, host: str) -> bool:
    """Whether a coordinator that listens on this host is to announce itself."""
    wanted = config.cluster.discovery
    return not is_loopback(host) if wanted is None else wanted


class Presence:
    """An announcement, from now to `close`. Making it takes a second, on the side.

    Args:
        address: host:port that the coordinator listens on.
        driver: What is announced.
        authority: Who may enter; None: anybody, in the clear.
    """

    def __init__(
        self, address: str, driver: CoordinatorDriver, authority: Authority | None
    ) -> None:
        ca = "" if authority is None else fingerprint(authority.ca_certificate)
        self._announcing = asyncio.create_task(_announce(address, driver, ca))

    async def close(self) -> None:
        """Take the announcement back."""
        announcer = await self._announcing
        if announcer is not None:
            await announcer.close()


async def _announce(
    address: str, driver: CoordinatorDriver, ca: str
) -> Announcer | None:
    from mlpeft.transport.discovery.announcer import Announcer

    return await Announcer.start(
        address,
        run=driver.config.run.name,
        session=driver.session,
        protocol=PROTOCOL_VERSION,
        ca=ca,
    )
