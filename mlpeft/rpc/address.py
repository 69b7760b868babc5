"""host:port, and whether it stays on this machine."""

from __future__ import annotations

import ipaddress

from mlpeft.errors import ConfigError


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


def check_loopback(host: str, source: str) -> None:
    """Check that a host is this machine and nobody else can reach it.

    Raises:
        ConfigError: If it may be reached from outside.
    """
    if host == "localhost":
        return
    try:
        if ipaddress.ip_address(host).is_loopback:
            return
    except ValueError:
        pass
    problem = (
        f"{source}: {host} can be reached from other machines, but there is no "
        "encryption and no join secret yet; listen on 127.0.0.1, and let others "
        "in through an SSH tunnel (ssh -L 50051:127.0.0.1:50051 HOST)"
    )
    raise ConfigError([problem])
