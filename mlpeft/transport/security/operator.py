"""The head node's operator certificate, which its user needs to control the cluster.

The coordinator creates it at start, in the folder `operator` beside its CA: whoever can
read that folder can admit anybody, so operator rights add nothing.
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
"""Its name in logs and on the list, and its folder's name."""


def operator_folder(authority_folder: Path) -> Path:
    """The folder of the head node's identity.

    Args:
        authority_folder: The coordinator's folder of certificates.
    """
    return authority_folder / NAME


def renew(authority: Authority, address: str) -> Identity:
    """The head node's identity, recreated if missing, revoked or soon to expire.

    Args:
        authority: The authority that lists it.
        address: host:port where the coordinator listens, as dialled from this machine.
    """
    folder = operator_folder(authority.folder)
    certificate = _valid_certificate(authority, folder)
    if certificate is None:
        request = certificates.new_request(identity.private_key(folder), NAME)
        certificate = authority.certify_operator(NAME, request)
    return identity.save(folder, address, certificate, authority.ca_certificate)


def _valid_certificate(authority: Authority, folder: Path) -> bytes | None:
    """The certificate in the folder if it is valid.

    Removes a damaged or refused identity: its key may be compromised.
    """
    if not identity.exists(folder):
        return None
    try:
        stored = identity.load(folder)
    except SecurityError:
        stored = None
    serial = certificates.read(stored.certificate).serial if stored else ""
    if stored is None or authority.refusal(serial) is not None:
        shutil.rmtree(folder)
        return None
    return stored.certificate if stored.days_left() > certificates.RENEW_DAYS else None
