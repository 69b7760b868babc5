"""How workers find a coordinator: the command to start one, and DNS-SD."""

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
    """The command that starts a worker on another machine.

    Args:
        address: host:port on which the coordinator listens.
        authority: The cluster's authority; None: no TLS, open to anybody.
    """
    host, port = split_address(address, "the coordinator")
    endpoint = join_address(_reachable_host(host, authority), port)
    command = f"mlpeft-worker --coordinator {endpoint}"
    if authority is None and not is_loopback(host):
        command += " --insecure"
    return command


def advice(command: str, authority: Authority | None) -> str:
    """How to start a worker, for a run that has none.

    Args:
        command: From `join_command`.
        authority: The cluster's authority; None: no TLS, open to anybody.
    """
    if authority is None:
        return f"`{command}`"
    return (
        f"`{command}`; a new machine first joins with `mlpeft-worker join TOKEN` "
        "(`mlpeft-coordinator token` prints a token)"
    )


def _reachable_host(host: str, authority: Authority | None) -> str:
    """A host that other machines can dial, unlike 0.0.0.0."""
    try:
        unspecified = ipaddress.ip_address(host).is_unspecified
    except ValueError:
        unspecified = False
    if not unspecified:
        return host
    return authority.names[0] if authority is not None else socket.gethostname()


def is_advertised(config: RunConfig, host: str) -> bool:
    """Whether a coordinator that listens on this host announces itself."""
    enabled = config.cluster.discovery
    return not is_loopback(host) if enabled is None else enabled


class Advertisement:
    """Announces a coordinator in the background, until `close`.

    Args:
        address: host:port on which the coordinator listens.
        driver: The coordinator.
        authority: The cluster's authority; None: no TLS, open to anybody.
    """

    def __init__(
        self, address: str, driver: CoordinatorDriver, authority: Authority | None
    ) -> None:
        ca = "" if authority is None else fingerprint(authority.ca_certificate)
        self._announcing = asyncio.create_task(_announce(address, driver, ca))

    async def close(self) -> None:
        """Withdraw the announcement."""
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
