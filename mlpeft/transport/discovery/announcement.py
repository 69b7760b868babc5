"""A coordinator's announcement, and its form as a DNS-SD service."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from zeroconf import ServiceInfo

from mlpeft.transport.rpc.address import is_loopback, join_address

if TYPE_CHECKING:
    from collections.abc import Mapping

SERVICE_TYPE = "_mlpeft._tcp.local."
MAX_ADDRESSES = 8
"""Addresses of one coordinator to read."""
MAX_CHARACTERS = 64
"""Characters of one property to read."""


@dataclass(frozen=True, slots=True)
class Announcement:
    """A coordinator on the network.

    Attributes:
        run: Name of its run.
        session: Unique id of this start of the coordinator.
        protocol: Version of the cluster's protocol.
        host: Name of its machine, for messages.
        ca: SHA-256, hexadecimal, of the CA of its certificate; "": no TLS.
        port: The port on which it listens.
        addresses: IP addresses of its machine, in the order in which to try them.
    """

    run: str
    session: str
    protocol: int
    host: str
    ca: str
    port: int
    addresses: tuple[str, ...]

    @property
    def endpoints(self) -> tuple[str, ...]:
        """Each address as host:port."""
        return tuple(join_address(address, self.port) for address in self.addresses)

    @property
    def is_local(self) -> bool:
        """Whether only this machine can reach it."""
        return all(is_loopback(address) for address in self.addresses)

    def __str__(self) -> str:
        return f"run {self.run} on {self.host} ({self.endpoints[0]})"


def to_service(announcement: Announcement) -> ServiceInfo:
    """Encode an announcement as a DNS-SD service."""
    properties = {
        "run": announcement.run,
        "session": announcement.session,
        "protocol": str(announcement.protocol),
        "host": announcement.host,
        "ca": announcement.ca,
    }
    # Names contain the session, so that they never clash with the machine's own.
    name = f"{announcement.run[:40]}-{announcement.session}.{SERVICE_TYPE}"
    return ServiceInfo(
        SERVICE_TYPE,
        name,
        port=announcement.port,
        properties=properties,
        server=f"mlpeft-{announcement.session}.local.",
        parsed_addresses=list(announcement.addresses),
    )


def from_service(service: ServiceInfo) -> Announcement | None:
    """Decode an untrusted DNS-SD service; None if it is not an announcement."""
    properties = _printable(service.properties)
    addresses = [
        address
        for address in service.parsed_scoped_addresses()[:MAX_ADDRESSES]
        if _is_address(address)
    ]
    run, protocol = properties.get("run", ""), properties.get("protocol", "")
    if not (service.port and addresses and run and protocol.isdecimal()):
        return None
    # An IPv4 address is more likely to be reachable than one of several IPv6 ones.
    addresses.sort(key=lambda address: ":" in address)
    return Announcement(
        run=run,
        session=properties.get("session", ""),
        protocol=int(protocol[:9]),
        host=properties.get("host") or "an unnamed machine",
        ca=properties.get("ca", ""),
        port=service.port,
        addresses=tuple(addresses),
    )


def _printable(properties: Mapping[bytes, bytes | None]) -> dict[str, str]:
    """Properties as printable text of limited length."""
    texts = {}
    for key, value in properties.items():
        decoded = (value or b"").decode("utf-8", "replace")[:MAX_CHARACTERS]
        text = "".join(char if char.isprintable() else "?" for char in decoded)
        texts[key.decode("ascii", "replace")] = text
    return texts


def _is_address(text: str) -> bool:
    try:
        return not ipaddress.ip_address(text.partition("%")[0]).is_unspecified
    except ValueError:
        return False
