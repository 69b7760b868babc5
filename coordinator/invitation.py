"""The command that starts a worker for this coordinator."""

from __future__ import annotations

import ipaddress
import socket
from typing import TYPE_CHECKING

from mlpeft.rpc.address import is_loopback, join_address, split_address

if TYPE_CHECKING:
    from mlpeft.security.authority import Authority


def invitation(address: str, authority: Authority | None) -> str:
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
        command: From `invitation`.
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
