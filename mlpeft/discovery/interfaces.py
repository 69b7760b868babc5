"""This machine's network interfaces."""

from __future__ import annotations

import ipaddress
import socket

import ifaddr


def own_addresses(host: str) -> tuple[str, ...]:
    """The IP addresses under which others can reach a server that listens on a host.

    Args:
        host: An address, a name, or 0.0.0.0 and :: for all of this machine's.
    """
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
        return tuple(dict.fromkeys(str(entry[4][0]) for entry in found))
    if not address.is_unspecified:
        return (host,)
    return tuple(
        ip
        for _, ip in _all()
        if _leads_here(ip) and (address.version == 6 or ":" not in ip)
    )


def interface_of(address: str) -> str:
    """Name of the interface that has an address of this machine; "" if none has."""
    plain = address.partition("%")[0]
    return next((name for name, ip in _all() if ip == plain), "")


def _all() -> list[tuple[str, str]]:
    """(interface, address) of this machine, IPv4 before IPv6."""
    found = [
        (str(adapter.nice_name), ip.ip if isinstance(ip.ip, str) else ip.ip[0])
        for adapter in ifaddr.get_adapters()
        for ip in adapter.ips
    ]
    return sorted(found, key=lambda pair: ":" in pair[1])


def _leads_here(text: str) -> bool:
    """Whether an address means this machine to others, without a scope."""
    address = ipaddress.ip_address(text)
    return not (address.is_loopback or (address.version == 6 and address.is_link_local))
