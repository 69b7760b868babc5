"""Addresses: host:port or unix:path, and whether they are local."""

from __future__ import annotations

import ipaddress

from mlpeft.errors import ConfigError

SOCKET = "unix:"
"""Prefix of the address of a Unix socket."""


def is_socket(address: str) -> bool:
    """Whether an address is a Unix socket, whose folder controls access."""
    return address.startswith(SOCKET)


def split_address(text: str, source: str) -> tuple[str, int]:
    """Host and port of `host:port` or `[v6]:port`.

    Args:
        text: The address.
        source: Where it came from, for the error message.

    Raises:
        ConfigError: If it is not of that form.
    """
    host, colon, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not (colon and host and port.isdecimal() and int(port) < 1 << 16):
        raise ConfigError(
            [f"{source}: expected host:port, such as 127.0.0.1:50051, got {text!r}"]
        )
    return host, int(port)


def join_address(host: str, port: int) -> str:
    """Format host and port; brackets an IPv6 host."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach a host; other names count as remote."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def local_host(listen_host: str) -> str:
    """The host that this machine dials to reach its own server on `listen_host`."""
    try:
        address = ipaddress.ip_address(listen_host)
    except ValueError:
        return listen_host
    if not address.is_unspecified:
        return listen_host
    return "127.0.0.1" if address.version == 4 else "::1"
