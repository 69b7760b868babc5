"""Finds out why a connection failed: gRPC always says "unavailable".

It repeats the handshake with the standard library's TLS, which names the cause.
"""

from __future__ import annotations

import contextlib
import fcntl
import socket
import ssl
import sys
import termios
import time
from typing import TYPE_CHECKING

from mlpeft.transport.rpc.address import is_socket, split_address
from mlpeft.transport.security.certificates import COORDINATOR_NAME

if TYPE_CHECKING:
    from mlpeft.transport.security.identity import Identity

TIMEOUT_S = 3.0
LARGE_S = 2.5
"""How long large packets may be under way."""
LARGE_BYTES = 8000
"""More than any usual packet."""
_SO_NWRITE = 0x1024
"""macOS: bytes in the send buffer (sys/socket.h)."""
_TLS_RECORDS = (b"\x15", b"\x16")
"""First bytes of alert and handshake records (RFC 8446, 5.1)."""


def obstacle(address: str, identity: Identity | None) -> str | None:
    """The permanent reason why a connection fails and what to do, or None.

    None means that the failure may be temporary: nobody listens, the network is down, a
    timeout.

    Args:
        address: The coordinator's host:port.
        identity: Our identity, or None for a connection without TLS.
    """
    if is_socket(address):
        return None
    # Twice: a stopping coordinator closes one connection, but accepts no second one.
    return _probe(address, identity) and _probe(address, identity)


def unresolved(address: str) -> str:
    """A sentence if the host's name is not known, "" otherwise."""
    if is_socket(address):
        return ""
    host, port = split_address(address, "--coordinator")
    try:
        socket.getaddrinfo(host, port)
    except socket.gaierror:
        return f"there is no machine called {host}: check the name; "
    return ""


def _probe(address: str, identity: Identity | None) -> str | None:
    host, port = split_address(address, "--coordinator")
    try:
        with socket.create_connection((host, port), TIMEOUT_S) as connection:
            if identity is None:
                return _probe_plaintext(connection, address)
            return _probe_tls(connection, address, identity)
    except OSError:
        return None


def takes_tls(address: str) -> bool | None:
    """Whether the server at an address speaks TLS; None: nobody answers."""
    host, port = split_address(address, "--coordinator")
    try:
        with socket.create_connection((host, port), TIMEOUT_S) as connection:
            return _speaks_tls(connection)
    except OSError:
        return None


def loses_large(address: str) -> bool:
    """Whether small packets reach a server and large ones do not: a dead MTU.

    A connection comes about, and then what fills whole packets is not acknowledged. If
    this system does not tell, or the server cannot be reached, the answer is no.
    """
    host, port = split_address(address, "--coordinator")
    try:
        with socket.create_connection((host, port), TIMEOUT_S) as connection:
            connection.sendall(_large_hello())
            deadline = time.monotonic() + LARGE_S
            while left := _unacknowledged(connection):
                if connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
                    return False  # refused, and the refusal came through
                if time.monotonic() > deadline:
                    return left >= LARGE_BYTES  # nothing at all came through
                time.sleep(0.02)
    except OSError:
        return False
    return False


def _large_hello() -> bytes:
    """A TLS ClientHello of several packets; noise to a server in the clear."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    padding = [f"mlpeft-{number:03d}-".ljust(250, "-") for number in range(32)]
    context.set_alpn_protocols(["h2", *padding])
    hello = ssl.MemoryBIO()
    client = context.wrap_bio(ssl.MemoryBIO(), hello, server_hostname=COORDINATOR_NAME)
    with contextlib.suppress(ssl.SSLWantReadError):
        client.do_handshake()
    return hello.read()


def _unacknowledged(connection: socket.socket) -> int:
    """Bytes that were sent and not acknowledged; 0 if the system does not tell."""
    if sys.platform == "darwin":
        return connection.getsockopt(socket.SOL_SOCKET, _SO_NWRITE)
    answer = fcntl.ioctl(connection, termios.TIOCOUTQ, bytes(4))
    return int.from_bytes(answer, sys.byteorder)


def _speaks_tls(connection: socket.socket) -> bool:
    """Whether a TLS ClientHello gets a TLS answer, even a refusal.

    Not a complete handshake: without a certificate it would fail, and gRPC would print
    the error on the coordinator's terminal.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE  # no secrets are sent
    hello = ssl.MemoryBIO()
    client = context.wrap_bio(ssl.MemoryBIO(), hello, server_hostname=COORDINATOR_NAME)
    with contextlib.suppress(ssl.SSLWantReadError):
        client.do_handshake()
    try:
        connection.sendall(hello.read())
        return connection.recv(1) in _TLS_RECORDS
    except OSError:
        return False


def _probe_plaintext(connection: socket.socket, address: str) -> str | None:
    if not _speaks_tls(connection):
        return None
    return (
        f"the coordinator at {address} requires TLS and a certificate, and this side "
        "has none; run: mlpeft-worker join TOKEN (`mlpeft-coordinator token` on the "
        "head node prints one)"
    )


def _probe_tls(
    connection: socket.socket, address: str, identity: Identity
) -> str | None:
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
            # The server judges our certificate after the handshake: it sends gRPC's
            # first bytes, or closes the connection.
            if not secure.recv(1):
                return _refused_text(address, identity)
    except ssl.SSLCertVerificationError as error:
        return (
            f"the coordinator at {address} is not the one that this machine joined "
            f"({error.verify_message}); check the address, or join that cluster with "
            "one of its tokens"
        )
    except ssl.SSLEOFError:
        return None
    except ssl.SSLError as error:
        reason = error.reason or "unknown"
        if "ALERT" in reason:
            return _refused_text(address, identity)
        return (
            f"the coordinator at {address} does not speak TLS "
            f"({reason.lower().replace('_', ' ')}); it was started on loopback or with "
            "--insecure: start it with TLS, or use --insecure here as well"
        )
    return None


def _refused_text(address: str, identity: Identity) -> str:
    return (
        f"the coordinator at {address} refused the certificate in {identity.folder}: "
        "another CA signed it, or it has expired; join again with a token"
    )
