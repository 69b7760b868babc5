"""Keys and certificates: ECDSA on P-256, X.509, as RFC 5280 wants them.

PEM in and out, so that callers need no cryptography types.
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
"""The name that clients check, whatever address they dial: a CA has one coordinator,
and a head node whose address changes stays the same coordinator."""
CA_DAYS = 3650
LEAF_DAYS = 397
RENEW_DAYS = 30
"""A certificate with less time left is renewed, or asks to be."""
CLOCK_SKEW = dt.timedelta(minutes=5)
"""How far the clock of a worker may lag behind without a new certificate failing."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")


class CertificateError(MlpeftError):
    """A certificate, key or request that cannot be used."""


@dataclass(frozen=True, slots=True)
class KeyPair:
    """A certificate and its private key, both PEM."""

    certificate: bytes
    key: bytes


@dataclass(frozen=True, slots=True)
class CertificateInfo:
    """What is read from a certificate.

    Attributes:
        name: Common name of its subject.
        serial: Serial number, hexadecimal.
        not_after: When it ends.
    """

    name: str
    serial: str
    not_after: dt.datetime

    def days_left(self) -> float:
        """Days until it ends; negative if it has ended."""
        return (self.not_after - _now()).total_seconds() / 86400


def is_name(name: str) -> bool:
    """Whether a worker can be called so; see `check_name`."""
    return _NAME.fullmatch(name) is not None


def check_name(name: str) -> str:
    """A worker's name, if it can be one.

    Raises:
        CertificateError: If it is not 1 to 63 letters, digits, dots, dashes and
            underscores, beginning with a letter or digit.
    """
    if not is_name(name):
        raise CertificateError(
            f"{name[:80]!r} cannot be a worker's name; take up to 63 letters, digits, "
            "'.', '-' and '_', beginning with a letter or digit"
        )
    return name


def new_key() -> bytes:
    """A fresh private key, PEM (PKCS 8, not encrypted)."""
    return ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def new_ca() -> KeyPair:
    """A certificate authority that signs leaves only."""
    key = new_key()
    name = _subject("mlpeft cluster CA")
    public = _private(key).public_key()
    builder = _builder(name, name, public, CA_DAYS)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), True)
    builder = builder.add_extension(_usage(sign_certificates=True), True)
    certificate = builder.sign(_private(key), hashes.SHA256())
    return KeyPair(certificate.public_bytes(serialization.Encoding.PEM), key)


def new_server(ca: KeyPair, names: Iterable[str]) -> KeyPair:
    """The coordinator's certificate.

    Args:
        ca: Who signs.
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
    """A request (CSR, PEM) for a certificate of this key: it holds the public half."""
    builder = x509.CertificateSigningRequestBuilder().subject_name(
        _subject(check_name(name))
    )
    request = builder.sign(_private(key), hashes.SHA256())
    return request.public_bytes(serialization.Encoding.PEM)


def sign_request(ca: KeyPair, request: bytes, name: str) -> bytes:
    """A worker's certificate, PEM. Of the request, only the public key is used.

    Args:
        ca: Who signs.
        request: From `new_request`; proves that the asker has the key.
        name: What the certificate will say the worker is called.

    Raises:
        CertificateError: If the request is damaged, or its key is of another kind.
    """
    return _sign_leaf(
        ca,
        _subject(check_name(name)),
        _requested_key(request),
        ExtendedKeyUsageOID.CLIENT_AUTH,
        [],
    )


def same_key(certificate: bytes, request: bytes) -> bool:
    """Whether a request is for the key that a certificate has.

    Raises:
        CertificateError: If one of them is none, or has no key that can be read.
    """
    try:
        held = _load(certificate).public_key()
    except (ValueError, UnsupportedAlgorithm) as error:
        raise CertificateError(f"a certificate without a sound key: {error}") from error
    return held == _requested_key(request)


def fingerprint(certificate: bytes) -> str:
    """SHA-256 of a PEM certificate's DER form, hexadecimal.

    Raises:
        CertificateError: If it is not a certificate.
    """
    return _load(certificate).fingerprint(hashes.SHA256()).hex()


def alone(certificate: bytes) -> bytes:
    """The first certificate of a PEM text, and nothing that comes along with it.

    A list of roots may hold many: what was checked must be all that is trusted.

    Raises:
        CertificateError: If it is not a certificate.
    """
    return _load(certificate).public_bytes(serialization.Encoding.PEM)


def read(certificate: bytes) -> CertificateInfo:
    """Name, serial and end of a PEM certificate.

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
    except ValueError as error:
        raise CertificateError(f"not a PEM certificate: {error}") from error


def _requested_key(request: bytes) -> ec.EllipticCurvePublicKey:
    """The public key of a request whose signature holds."""
    try:
        loaded = x509.load_pem_x509_csr(request)
        key = loaded.public_key()
        signed = loaded.is_signature_valid
    except (ValueError, InvalidSignature, UnsupportedAlgorithm) as error:
        raise CertificateError(f"not a certificate request: {error}") from error
    if not isinstance(key, ec.EllipticCurvePublicKey) or key.curve.name != "secp256r1":
        raise CertificateError("the request's key must be ECDSA on P-256")
    if not signed:
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
    # A worker's certificate is no server's: a worker cannot pose as the coordinator.
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
