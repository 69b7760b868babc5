"""Why no connection came about: gRPC says "unavailable" for everything.

After a failure the handshake is tried once more with the standard library's TLS, which
does say what is wrong.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
from typing import TYPE_CHECKING

from mlpeft.transport.rpc.address import is_socket, split_address
from mlpeft.transport.security.certificates import COORDINATOR_NAME

if TYPE_CHECKING:
    from mlpeft.transport.security.identity import Identity

TIMEOUT_S = 3.0
_TLS_RECORDS = (b"\x15", b"\x16")
"""How an alert and a step of the handshake begin (RFC 8446, 5.1)."""


def obstacle(address: str, identity: Identity | None) -> str | None:
    """What keeps us from a coordinator for good and what to do, or None.

    None is for what may pass: nobody listens, the network is down, a timeout.

    Args:
        address: The coordinator's host:port.
        identity: What we show, or None for a connection in the clear.
    """
    if is_socket(address):
        return None
    # Twice: one that is just ending also closes connections, but takes no second one.
    return _look(address, identity) and _look(address, identity)


def _look(address: str, identity: Identity | None) -> str | None:
    host, port = split_address(address, "--coordinator")
    try:
        with socket.create_connection((host, port), TIMEOUT_S) as connection:
            if identity is None:
                return _of_plaintext(connection, address)
            return _of_tls(connection, address, identity)
    except OSError:
        return None


def takes_tls(address: str) -> bool | None:
    """Whether who answers at an address speaks TLS; None: nobody answers."""
    host, port = split_address(address, "--coordinator")
    try:
        with socket.create_connection((host, port), TIMEOUT_S) as connection:
            return _speaks_tls(connection)
    except OSError:
        return None


def _speaks_tls(connection: socket.socket) -> bool:
    """Whether a greeting of TLS is answered in TLS, be it with a refusal.

    Not a whole handshake: without a certificate that ends in an error, which gRPC
    prints on the coordinator's terminal.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE  # nothing is said to it: does it speak TLS?
    greeting = ssl.MemoryBIO()
    half = context.wrap_bio(ssl.MemoryBIO(), greeting, server_hostname=COORDINATOR_NAME)
    with contextlib.suppress(ssl.SSLWantReadError):
        half.do_handshake()
    try:
        connection.sendall(greeting.read())
        return connection.recv(1) in _TLS_RECORDS
    except OSError:
        return False


def _of_plaintext(connection: socket.socket, address: str) -> str | None:
    if not _speaks_tls(connection):
        return None
    return (
        f"the coordinator at {address} wants TLS and a certificate, and this side has "
        "none; run: mlpeft-worker join TOKEN (`mlpeft-coordinator token` on the head "
        "node prints one)"
    )


def _of_tls(connection: socket.socket, address: str, identity: Identity) -> str | None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(cadata=identity.ca.decode())
    context.load_cert_chain(
        identity.folder / "certificate.pem", identity.folder / "key.pem"
    )
    context.set_alpn_protocols(["h2"])
    try:
        with context.wrap_socket(
            connection, server_hostname=COORDINATOR_NAME
        ) as secure:
            # The verdict on our certificate comes after the handshake: gRPC's first
            # bytes, or, without a word, the end.
            if not secure.recv(1):
                return _not_taken(address, identity)
    except ssl.SSLCertVerificationError as error:
        return (
            f"the coordinator at {address} is not the one that this machine joined "
            f"({error.verify_message}); check the address, or join that cluster with "
            "a token of its own"
        )
    except ssl.SSLEOFError:
        return None
    except ssl.SSLError as error:
        reason = error.reason or "unknown"
        if "ALERT" in reason:
            return _not_taken(address, identity)
        return (
            f"the coordinator at {address} does not speak TLS "
            f"({reason.lower().replace('_', ' ')}); it was started on loopback or with "
            "--insecure: start it with TLS, or this side with --insecure as well"
        )
    return None


def _not_taken(address: str, identity: Identity) -> str:
    return (
        f"the coordinator at {address} does not take the certificate in "
        f"{identity.folder}: another CA signed it, or it has ended; join again with a "
        "token"
    )
