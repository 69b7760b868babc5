"""Facts about the network from the operating system, to explain gRPC's errors."""

from __future__ import annotations

import ipaddress
import platform
import re
import socket
import sys
from typing import TYPE_CHECKING, Protocol

import ifaddr

from mlpeft.platform import shell

if TYPE_CHECKING:
    from mlpeft.platform.shell import Shell

TIMEOUT_S = 3.0
PRIVACY_SINCE = 15
"""The first macOS that asks for permission to reach the local network."""


class Network(Protocol):
    """The network as seen from this machine."""

    def connect(self, host: str, port: int) -> None:
        """Open a connection and close it.

        Raises:
            OSError: If it cannot be opened.
        """
        ...

    def on_same_network(self, host: str) -> bool:
        """Whether a host is reached without a gateway; False if unknown."""
        ...

    def gateway_answers(self) -> bool:
        """Whether there is a default gateway that answers a ping."""
        ...

    def asks_for_leave(self) -> bool:
        """Whether this system asks for permission to reach the local network."""
        ...


class SystemNetwork:
    """The network as reported by system calls and commands.

    Args:
        system: `sys.platform`.
        run: Runs commands.
    """

    def __init__(self, system: str = sys.platform, run: Shell = shell.run) -> None:
        self._system = system
        self._run = run

    def connect(self, host: str, port: int) -> None:
        """See `Network`."""
        socket.create_connection((host, port), TIMEOUT_S).close()

    def on_same_network(self, host: str) -> bool:
        """See `Network`."""
        if self._system == "darwin":
            answer = self._run(["/sbin/route", "-n", "get", host])
            return answer.code == 0 and "gateway:" not in answer.text
        answer = self._run(["ip", "route", "get", host])
        return answer.code == 0 and " via " not in answer.text

    def gateway_answers(self) -> bool:
        """See `Network`."""
        if self._system == "darwin":
            route = self._run(["/sbin/route", "-n", "get", "default"])
            gateway = re.search(r"gateway: (\S+)", route.text)
            ping = ["/sbin/ping", "-c", "1", "-t", "2"]
        else:
            route = self._run(["ip", "route", "show", "default"])
            gateway = re.search(r"default via (\S+)", route.text)
            ping = ["ping", "-c", "1", "-W", "2"]
        return gateway is not None and self._run([*ping, gateway[1]]).code == 0

    def asks_for_leave(self) -> bool:
        """See `Network`."""
        if self._system != "darwin":
            return False
        major = platform.mac_ver()[0].partition(".")[0]
        return major.isdecimal() and int(major) >= PRIVACY_SINCE


def own_addresses(host: str) -> tuple[str, ...]:
    """The IP addresses at which other machines reach a server listening on a host.

    Args:
        host: An address, a name, or 0.0.0.0 or :: for all addresses of this machine.
    """
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        entries = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
        return tuple(dict.fromkeys(str(entry[4][0]) for entry in entries))
    if not address.is_unspecified:
        return (host,)
    return tuple(
        ip
        for _, ip in _list_addresses()
        if _is_reachable(ip) and (address.version == 6 or ":" not in ip)
    )


def interface_of(address: str) -> str:
    """The name of the interface with this address; "" if there is none."""
    unscoped = address.partition("%")[0]
    return next((name for name, ip in _list_addresses() if ip == unscoped), "")


def _list_addresses() -> list[tuple[str, str]]:
    """(interface, address) pairs of this machine, IPv4 before IPv6."""
    pairs = [
        (str(adapter.nice_name), ip.ip if isinstance(ip.ip, str) else ip.ip[0])
        for adapter in ifaddr.get_adapters()
        for ip in adapter.ips
    ]
    return sorted(pairs, key=lambda pair: ":" in pair[1])


def _is_reachable(ip: str) -> bool:
    """Whether other machines can reach an address without a scope."""
    address = ipaddress.ip_address(ip)
    return not (address.is_loopback or (address.version == 6 and address.is_link_local))
