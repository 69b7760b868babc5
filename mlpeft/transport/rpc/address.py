"""host:port or unix:path, and whether it stays on this machine."""

from __future__ import annotations

import ipaddress

from mlpeft.errors import ConfigError

SOCKET = "unix:"
"""What the address of a socket in the file system begins with."""


def is_socket(address: str) -> bool:
    """Whether an address is a socket in the file system, whose folder guards it."""
    return address.startswith(SOCKET)


def split_address(text: str, source: str) -> tuple[str, int]:
    """Host and port of `host:port` or `[v6]:port`.

    Args:
        text: The address.
        source: Where it came from, for the message.

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
    """The address as text; an IPv6 host gets its brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach a host; a name is taken for another's."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def from_here(host: str) -> str:
    """What this machine dials to reach a server of its own that listens on a host."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host
    if not address.is_unspecified:
        return host
    return "127.0.0.1" if address.version == 4 else "::1"
