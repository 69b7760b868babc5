"""Whom a worker counts as, whatever it says of itself.

A worker chooses its process id and, in the clear, its name. So failures, second
opinions, backups and quarantine count by identity: the name in the certificate, which
only the coordinator's CA gives; in the clear the address that it calls from. Several
processes of one machine share an identity.
"""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING
from urllib.parse import unquote

if TYPE_CHECKING:
    from mlpeft.runtime.coordinator.admission import Caller

LOCAL = "this machine"
"""The identity of the workers that the coordinator started itself."""


def identity_of(peer: str, caller: Caller | None) -> str:
    """The identity behind a call.

    Args:
        peer: The peer as gRPC writes it: `ipv4:10.0.0.5:41000`, `ipv6:[::1]:41000` or
            `unix:`.
        caller: Whom its certificate names; None in the clear.
    """
    if caller is not None:
        return caller.name
    family, _, rest = unquote(peer).partition(":")
    if family == "unix":  # a socket in a folder that only this user may enter
        return LOCAL
    host = rest.rpartition(":")[0].strip("[]").partition("%")[0]
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host or peer
    mapped = getattr(address, "ipv4_mapped", None)
    address = mapped or address
    return "loopback" if address.is_loopback else str(address)
