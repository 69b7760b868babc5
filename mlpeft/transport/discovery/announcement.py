"""What a coordinator says of itself, and how that looks in DNS-SD."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from zeroconf import ServiceInfo

from mlpeft.transport.rpc.address import is_loopback, join_address

if TYPE_CHECKING:
    from collections.abc import Mapping

SERVICE_TYPE = "_mlpeft._tcp.local."
MOST_ADDRESSES = 8
"""Addresses of one coordinator that are looked at."""
MOST_CHARACTERS = 64


@dataclass(frozen=True, slots=True)
class Announcement:
    """A coordinator on the network.

    Attributes:
        run: Name of its run.
        session: Unlike that of any other start of a coordinator.
        protocol: Version of the cluster's protocol.
        host: What its machine calls itself, for people.
        ca: SHA-256, hexadecimal, of the CA that its certificate is from; "": it talks
            in the clear.
        port: Where it listens.
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
    def dialled(self) -> tuple[str, ...]:
        """Each address with the port."""
        return tuple(join_address(address, self.port) for address in self.addresses)

    @property
    def is_local(self) -> bool:
        """Whether only this machine can reach it."""
        return all(is_loopback(address) for address in self.addresses)

    def __str__(self) -> str:
        return f"run {self.run} on {self.host} ({self.dialled[0]})"


def to_service(announcement: Announcement) -> ServiceInfo:
    """An announcement as a DNS-SD service."""
    text = {
        "run": announcement.run,
        "session": announcement.session,
        "protocol": str(announcement.protocol),
        "host": announcement.host,
        "ca": announcement.ca,
    }
    # The names hold the session: those of the machine itself stay its own.
    name = f"{announcement.run[:40]}-{announcement.session}.{SERVICE_TYPE}"
    return ServiceInfo(
        SERVICE_TYPE,
        name,
        port=announcement.port,
        properties=text,
        server=f"mlpeft-{announcement.session}.local.",
        parsed_addresses=list(announcement.addresses),
    )


def from_service(service: ServiceInfo) -> Announcement | None:
    """The announcement in a DNS-SD service of whoever; None if it is none."""
    text = _text(service.properties)
    addresses = [
        address
        for address in service.parsed_scoped_addresses()[:MOST_ADDRESSES]
        if _is_address(address)
    ]
    protocol = text.get("protocol", "")
    if not (service.port and addresses and text.get("run") and protocol.isdecimal()):
        return None
    # An IPv4 address is more likely to lead there than one of several IPv6 ones.
    addresses.sort(key=lambda address: ":" in address)
    return Announcement(
        run=text["run"],
        session=text.get("session", ""),
        protocol=int(protocol[:9]),
        host=text.get("host") or "an unnamed machine",
        ca=text.get("ca", ""),
        port=service.port,
        addresses=tuple(addresses),
    )


def _text(properties: Mapping[bytes, bytes | None]) -> dict[str, str]:
    """What can be printed of the properties, and not more than a line of each."""
    found = {}
    for key, value in properties.items():
        decoded = (value or b"").decode("utf-8", "replace")[:MOST_CHARACTERS]
        shown = "".join(one if one.isprintable() else "?" for one in decoded)
        found[key.decode("ascii", "replace")] = shown
    return found


def _is_address(text: str) -> bool:
    try:
        return not ipaddress.ip_address(text.partition("%")[0]).is_unspecified
    except ValueError:
        return False
