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
    if "://" in text:
        plain = text.partition("://")[2].rstrip("/")
        raise ConfigError(
            [f"{source}: {text!r} is a URL, expected host:port; did you mean {plain}?"]
        )
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


def is_near(address: str) -> bool:
    """Whether an address is in this network: no proxy for the Internet leads there.

    That is a socket, loopback, a private or link-local address, or a host name without
    a domain or under `.local`.
    """
    if is_socket(address):
        return True
    host = address.rpartition(":")[0].removeprefix("[").removesuffix("]")
    try:
        found = ipaddress.ip_address(host)
    except ValueError:
        return "." not in host or host.endswith(".local")
    return found.is_private or found.is_link_local or found.is_loopback


def check_target(text: str, source: str) -> None:
    """Refuse an address on which one listens, but which nobody can dial.

    Raises:
        ConfigError: If it is one.
    """
    host, port = split_address(text, source)
    if local_host(host) != host:
        problem = (
            f"{source}: {host} means every address of the machine that listens, and is "
            "none to dial; give that machine's name or address, or "
            f"{join_address(local_host(host), port)} on the same machine"
        )
        raise ConfigError([problem])


def local_host(listen_host: str) -> str:
    """The host that this machine dials to reach its own server on `listen_host`."""
    try:
        address = ipaddress.ip_address(listen_host)
    except ValueError:
        return listen_host
    if not address.is_unspecified:
        return listen_host
    return "127.0.0.1" if address.version == 4 else "::1"
