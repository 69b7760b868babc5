"""A worker's secrets: its key, its certificate and its coordinator.

    key.pem  certificate.pem  ca.pem  coordinator.json

The key is created here and never leaves the machine.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mlpeft.files import parse_json
from mlpeft.transport.security import certificates
from mlpeft.transport.security.certificates import CertificateError
from mlpeft.transport.security.folders import (
    SecurityError,
    make_private_folder,
    read_private,
    write_private,
)

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class Identity:
    """A worker's credentials for its coordinator.

    Attributes:
        folder: Its folder.
        name: The worker's name in the certificate.
        address: The coordinator's host:port.
        key: PEM.
        certificate: PEM.
        ca: The CA's certificate, PEM.
    """

    folder: Path
    name: str
    address: str
    key: bytes
    certificate: bytes
    ca: bytes

    def days_left(self) -> float:
        """Days until the certificate expires."""
        return certificates.read(self.certificate).days_left()


def private_key(folder: Path) -> bytes:
    """The worker's private key, created at the first call.

    Raises:
        SecurityError: If others can read it.
    """
    make_private_folder(folder)
    path = folder / "key.pem"
    if not path.exists():
        write_private(path, certificates.new_key())
    return read_private(path)


def save(folder: Path, address: str, certificate: bytes, ca: bytes) -> Identity:
    """Store the result of a join.

    Args:
        folder: The folder with the key.
        address: The coordinator's host:port.
        certificate: PEM.
        ca: PEM.
    """
    write_private(folder / "ca.pem", ca)
    write_private(folder / "certificate.pem", certificate)
    # Last, because coordinator.json marks an identity as complete.
    content = json.dumps({"address": address}).encode()
    write_private(folder / "coordinator.json", content)
    return load(folder)


def load(folder: Path) -> Identity:
    """Load the identity in a folder.

    Raises:
        SecurityError: If it is missing or damaged, or others can read its key.
    """
    try:
        address = parse_json((folder / "coordinator.json").read_bytes())["address"]
        certificate = (folder / "certificate.pem").read_bytes()
        return Identity(
            folder,
            certificates.read(certificate).name,
            address,
            read_private(folder / "key.pem"),
            certificate,
            (folder / "ca.pem").read_bytes(),
        )
    except FileNotFoundError as error:
        raise SecurityError(
            f"no certificate in {folder}; run: mlpeft-worker join TOKEN (the head node "
            "prints a token with `mlpeft-coordinator token`)"
        ) from error
    except (CertificateError, ValueError, KeyError, TypeError) as error:
        raise SecurityError(
            f"the identity in {folder} is damaged ({error}); join again with a token"
        ) from error


def exists(folder: Path) -> bool:
    """Whether the folder holds a complete identity."""
    return (folder / "coordinator.json").exists()
