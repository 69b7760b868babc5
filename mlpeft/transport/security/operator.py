"""The head node's own certificate, with which its user sees and steers the cluster.

A coordinator makes it when it starts, in the folder `operator` beside its CA: who can
read that folder can let anybody in, so steering gives them nothing new.
"""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Final

from mlpeft.transport.security import certificates, identity
from mlpeft.transport.security.folders import SecurityError

if TYPE_CHECKING:
    from pathlib import Path

    from mlpeft.transport.security.authority import Authority
    from mlpeft.transport.security.identity import Identity

NAME: Final = "operator"
"""What it is called in logs and on the list, and the name of its folder."""


def operator_folder(authority_folder: Path) -> Path:
    """Where the head node's own identity is.

    Args:
        authority_folder: The coordinator's folder of certificates.
    """
    return authority_folder / NAME


def renew(authority: Authority, address: str) -> Identity:
    """The head node's identity, made anew if it is missing, revoked or soon over.

    Args:
        authority: Whose list it is on.
        address: host:port where the coordinator listens, as dialled from this machine.
    """
    folder = operator_folder(authority.folder)
    certificate = _good_certificate(authority, folder)
    if certificate is None:
        request = certificates.new_request(identity.own_key(folder), NAME)
        certificate = authority.appoint(NAME, request)
    return identity.save(folder, address, certificate, authority.ca_certificate)


def _good_certificate(authority: Authority, folder: Path) -> bytes | None:
    """The one that is there, if it will do; what may be in other hands is removed."""
    if not identity.exists(folder):
        return None
    try:
        held = identity.load(folder)
    except SecurityError:
        held = None
    serial = certificates.read(held.certificate).serial if held else ""
    if held is None or authority.refusal(serial) is not None:
        shutil.rmtree(folder)
        return None
    return held.certificate if held.days_left() > certificates.RENEW_DAYS else None
