"""Keys and certificates: ECDSA on P-256, X.509 (RFC 5280).

PEM in and out, so that callers need no types of `cryptography`.
"""

from __future__ import annotations

import datetime as dt
import ipaddress
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from mlpeft.errors import MlpeftError

if TYPE_CHECKING:
    from collections.abc import Iterable

COORDINATOR_NAME = "coordinator.mlpeft"
"""The server name that clients verify, whatever address they dial: a CA has one
coordinator, and it keeps its identity when its address changes."""
CA_DAYS = 3650
LEAF_DAYS = 397
RENEW_DAYS = 30
"""A certificate with fewer days left is renewed, or its worker told to renew it."""
CLOCK_SKEW = dt.timedelta(minutes=5)
"""Tolerated lag of a worker's clock behind the coordinator's."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")


class CertificateError(MlpeftError):
    """An unusable certificate, key or request."""


@dataclass(frozen=True, slots=True)
class KeyPair:
    """A certificate and its private key, both PEM."""

    certificate: bytes
    key: bytes


@dataclass(frozen=True, slots=True)
class CertificateInfo:
    """Fields of a certificate.

    Attributes:
        name: Common name of its subject.
        serial: Serial number, hexadecimal.
        not_after: When it expires.
    """

    name: str
    serial: str
    not_after: dt.datetime

    def days_left(self) -> float:
        """Days until it expires; negative if it has expired."""
        return (self.not_after - _now()).total_seconds() / 86400


def is_valid_name(name: str) -> bool:
    """Whether a name is valid for a worker; see `check_name`."""
    return _NAME.fullmatch(name) is not None


def check_name(name: str) -> str:
    """Check a worker's name, and return it.

    Raises:
        CertificateError: If it is not 1 to 63 letters, digits, dots, dashes and
            underscores, starting with a letter or digit.
    """
    if not is_valid_name(name):
        raise CertificateError(
            f"{name[:80]!r} cannot be a worker's name; use up to 63 letters, digits, "
            "'.', '-' and '_', starting with a letter or digit"
        )
    return name


def new_key() -> bytes:
    """Create a private key, PEM (PKCS 8, not encrypted)."""
    return ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def new_ca() -> KeyPair:
    """Create a certificate authority that signs leaf certificates only."""
    key = new_key()
    name = _subject("mlpeft cluster CA")
    public = _private(key).public_key()
    builder = _builder(name, name, public, CA_DAYS)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), True)
    builder = builder.add_extension(_usage(sign_certificates=True), True)
    certificate = builder.sign(_private(key), hashes.SHA256())
    return KeyPair(certificate.public_bytes(serialization.Encoding.PEM), key)


def new_server(ca: KeyPair, names: Iterable[str]) -> KeyPair:
    """Create the coordinator's key and certificate.

    Args:
        ca: The CA that signs.
        names: Host names and IP addresses by which it is reached.
    """
    key = new_key()
    san: list[x509.GeneralName] = [x509.DNSName(COORDINATOR_NAME)]
    san += [_general_name(name) for name in names]
    certificate = _sign_leaf(
        ca,
        _subject(COORDINATOR_NAME),
        _private(key).public_key(),
        ExtendedKeyUsageOID.SERVER_AUTH,
        san,
    )
    return KeyPair(certificate, key)


def new_request(key: bytes, name: str) -> bytes:
    """Create a certificate request (CSR, PEM) with the public half of a key."""
    builder = x509.CertificateSigningRequestBuilder().subject_name(
        _subject(check_name(name))
    )
    request = builder.sign(_private(key), hashes.SHA256())
    return request.public_bytes(serialization.Encoding.PEM)


def sign_request(ca: KeyPair, request: bytes, name: str) -> bytes:
    """Sign a worker's certificate, PEM; uses only the public key of the request.

    Args:
        ca: The CA that signs.
        request: From `new_request`; proves that the requester has the key.
        name: The worker's name in the certificate.

    Raises:
        CertificateError: If the request is damaged, or its key has another type.
    """
    return _sign_leaf(
        ca,
        _subject(check_name(name)),
        _requested_key(request),
        ExtendedKeyUsageOID.CLIENT_AUTH,
        [],
    )


def same_key(certificate: bytes, request: bytes) -> bool:
    """Whether a request and a certificate have the same key.

    Raises:
        CertificateError: If one of them or its key cannot be read.
    """
    try:
        key = _load(certificate).public_key()
    except (ValueError, UnsupportedAlgorithm) as error:
        raise CertificateError(f"a certificate with an invalid key: {error}") from error
    return key == _requested_key(request)


def fingerprint(certificate: bytes) -> str:
    """SHA-256 of a PEM certificate's DER form, hexadecimal.

    Raises:
        CertificateError: If it is not a certificate.
    """
    return _load(certificate).fingerprint(hashes.SHA256()).hex()


def first_certificate(pem: bytes) -> bytes:
    """The first certificate of a PEM text, without any that follow.

    PEM may hold several roots: only the checked one may be trusted.

    Raises:
        CertificateError: If it is not a certificate.
    """
    return _load(pem).public_bytes(serialization.Encoding.PEM)


def read(certificate: bytes) -> CertificateInfo:
    """Read name, serial number and expiry of a PEM certificate.

    Raises:
        CertificateError: If it is not a certificate of ours.
    """
    loaded = _load(certificate)
    names = loaded.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    if len(names) != 1:
        raise CertificateError("expected a certificate with one common name")
    return CertificateInfo(
        str(names[0].value), f"{loaded.serial_number:x}", loaded.not_valid_after_utc
    )


def _load(certificate: bytes) -> x509.Certificate:
    try:
        return x509.load_pem_x509_certificate(certificate)
    except (ValueError, x509.InvalidVersion) as error:
        raise CertificateError(f"not a PEM certificate: {error}") from error


def _requested_key(request: bytes) -> ec.EllipticCurvePublicKey:
    """The public key of a request, after checking its signature."""
    try:
        loaded = x509.load_pem_x509_csr(request)
        key = loaded.public_key()
        signature_valid = loaded.is_signature_valid
    except (
        ValueError,
        x509.InvalidVersion,
        InvalidSignature,
        UnsupportedAlgorithm,
    ) as error:
        raise CertificateError(f"not a certificate request: {error}") from error
    if not isinstance(key, ec.EllipticCurvePublicKey) or key.curve.name != "secp256r1":
        raise CertificateError("the request's key must be ECDSA on P-256")
    if not signature_valid:
        raise CertificateError("the request is not signed by its own key")
    return key


def _private(key: bytes) -> ec.EllipticCurvePrivateKey:
    try:
        loaded = serialization.load_pem_private_key(key, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise CertificateError(f"not a private key: {error}") from error
    if not isinstance(loaded, ec.EllipticCurvePrivateKey):
        raise CertificateError("expected an ECDSA key")
    return loaded


def _sign_leaf(
    ca: KeyPair,
    subject: x509.Name,
    public: ec.EllipticCurvePublicKey,
    purpose: x509.ObjectIdentifier,
    san: list[x509.GeneralName],
) -> bytes:
    issuer = _load(ca.certificate)
    builder = _builder(subject, issuer.subject, public, LEAF_DAYS)
    builder = builder.add_extension(
        x509.BasicConstraints(ca=False, path_length=None), True
    )
    builder = builder.add_extension(_usage(sign_certificates=False), True)
    # A worker's certificate is for clients only: it cannot pose as the coordinator.
    builder = builder.add_extension(x509.ExtendedKeyUsage([purpose]), False)
    builder = builder.add_extension(
        x509.AuthorityKeyIdentifier.from_issuer_public_key(
            _private(ca.key).public_key()
        ),
        False,
    )
    if san:
        builder = builder.add_extension(x509.SubjectAlternativeName(san), False)
    certificate = builder.sign(_private(ca.key), hashes.SHA256())
    return certificate.public_bytes(serialization.Encoding.PEM)


def _builder(
    subject: x509.Name, issuer: x509.Name, public: ec.EllipticCurvePublicKey, days: int
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(_now() - CLOCK_SKEW)
        .not_valid_after(_now() + dt.timedelta(days=days))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), False)
    )


def _usage(*, sign_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not sign_certificates,
        key_cert_sign=sign_certificates,
        crl_sign=sign_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _subject(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        pass
    try:
        return x509.DNSName(name)
    except ValueError as error:
        raise CertificateError(
            f"{name!r} is neither a host name nor an IP address"
        ) from error


def _now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)
