"""Tokens, certificates and lists of files that others offer."""

from __future__ import annotations

import base64

from mlpeft.tasks.assets import Asset, AssetKind
from mlpeft.transport.blobs import manifest
from mlpeft.transport.security import certificates
from mlpeft.transport.security.registry import Registry
from mlpeft.transport.security.token import JoinToken
from tests.fuzz.target import file_of, target

_TOKEN = str(JoinToken("127.0.0.1:50052", "ab" * 32, "cd" * 16))


@target(_TOKEN.encode())
def _join_token(data: bytes) -> None:
    JoinToken.parse(data.decode("latin-1"))


@target(b'{"address":"h:1","ca_fingerprint":"f","secret":"s"}', found=(b"[" * 100_000,))
def _join_token_body(data: bytes) -> None:
    """The same behind the base64, which a fuzzer would have to learn first."""
    body = base64.urlsafe_b64encode(data).decode().rstrip("=")
    JoinToken.parse(f"mlpeft1.{body}")


@target(b"-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n")
def _certificate(data: bytes) -> None:
    certificates.read(data)


@target(
    b'{"format":1,"tokens":[],"workers":[{"name":"a","serial":"1","certificate":"c",'
    b'"issued":1.0,"expires":2.0}]}'
)
def _registry(data: bytes) -> None:
    Registry(file_of("registry.json", data)).read()


@target(manifest.encode((manifest.Entry("a/b.png", 3, "0" * 64),)))
def _manifest(data: bytes) -> None:
    manifest.decode(data, Asset("pictures", AssetKind.IMAGES))
