"""The coordinator's secrets: CA, server certificate, tokens, workers.

    ca.pem  ca.key  server.pem  server.key  names.json  join_port  registry.json

Whoever can read the folder can admit anybody: it is private to its owner.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import time
from dataclasses import replace
from typing import TYPE_CHECKING

from mlpeft.transport.security import certificates, token
from mlpeft.transport.security.certificates import CertificateError, KeyPair
from mlpeft.transport.security.folders import (
    SecurityError,
    make_private_folder,
    read_private,
    write_private,
)
from mlpeft.transport.security.registry import (
    OPERATOR,
    WORKER,
    EnrolledWorker,
    Registry,
    TokenRecord,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from mlpeft.transport.security.registry import Change

TOKEN_S = 3600.0
"""Default lifetime of a join token in seconds."""

JOIN_PORT = 50052
"""Default port for joins."""


class EnrolmentError(SecurityError):
    """A refused join; the message goes to the worker and contains no secret."""


class Authority:
    """The certificate authority of a cluster, and its list of who may enter.

    Args:
        folder: Made by `create`.
        clock: Unix time; for tests.

    Attributes:
        join_port: The port for joins.

    Raises:
        SecurityError: If the folder is not set up, or others can read its keys.
    """

    def __init__(self, folder: Path, clock: Callable[[], float] = time.time) -> None:
        self.folder = folder
        self._clock = clock
        try:
            self._ca = _read_pair(folder, "ca")
            self._names: list[str] = json.loads((folder / "names.json").read_bytes())
        except FileNotFoundError as error:
            raise SecurityError(
                f"no certificates in {folder}; run: mlpeft-coordinator init"
            ) from error
        self.join_port = _read_port(folder / "join_port")
        self._registry = Registry(folder / "registry.json")
        self._registry.read()

    @classmethod
    def create(
        cls,
        folder: Path,
        names: Sequence[str],
        clock: Callable[[], float] = time.time,
        join_port: int = JOIN_PORT,
    ) -> Authority:
        """Create the folder with a CA and a server certificate.

        Args:
            folder: The folder; must not hold a CA.
            names: Host names and addresses of the coordinator.
            clock: Unix time; for tests.
            join_port: The port for joins, stored for the coordinator and its tokens.

        Raises:
            SecurityError: If there is a CA: a new one would shut out every worker.
            CertificateError: If a name is neither a host name nor an address.
        """
        if (folder / "ca.key").exists():
            raise SecurityError(
                f"{folder} already has a CA; a new one would shut out every worker. "
                "`mlpeft-coordinator token` makes another token, --dir DIR another CA"
            )
        ca = certificates.new_ca()
        server = certificates.new_server(ca, names)
        make_private_folder(folder)
        write_private(folder / "names.json", json.dumps(list(names)).encode())
        write_private(folder / "join_port", str(join_port).encode())
        Registry(folder / "registry.json").create()
        _write_pair(folder, "server", server)
        _write_pair(folder, "ca", ca)
        return cls(folder, clock)

    @property
    def ca_certificate(self) -> bytes:
        """The CA's certificate, PEM: public."""
        return self._ca.certificate

    @property
    def names(self) -> tuple[str, ...]:
        """Names and addresses of the coordinator; dial the first one first."""
        return tuple(self._names)

    def server_pair(self) -> KeyPair:
        """The server's certificate and key, renewed if it expires soon."""
        pair = _read_pair(self.folder, "server")
        info = certificates.read(pair.certificate)
        if info.days_left() < certificates.RENEW_DAYS:
            pair = certificates.new_server(self._ca, self._names)
            _write_pair(self.folder, "server", pair)
        return pair

    # --- joining ----------------------------------------------------------------------

    def new_token(
        self, address: str, lifetime_s: float = TOKEN_S, role: str = WORKER
    ) -> token.JoinToken:
        """Create a token with which machines may join for a limited time.

        Args:
            address: host:port of the port for joins.
            lifetime_s: Seconds until it expires.
            role: Role of the certificates: WORKER or OPERATOR.
        """
        join_token = token.JoinToken(
            address,
            certificates.fingerprint(self._ca.certificate),
            token.new_secret(),
        )
        now = self._clock()
        record = TokenRecord(_digest(join_token.secret), now + lifetime_s, role)
        with self._registry.change() as change:
            valid = [old for old in change.listing.tokens if old.expires > now]
            change.replace_tokens((*valid, record))
        return join_token

    def enrol(self, secret: str, name: str, request: bytes) -> bytes:
        """Issue a certificate to a worker that has a token; PEM.

        A worker may repeat a join whose answer was lost: the same key may use the name
        again.

        Args:
            secret: From the token.
            name: The name that the worker asks for.
            request: Its certificate request, PEM.

        Raises:
            EnrolmentError: If the token is unknown or expired, the name is taken or
                invalid, or the request is damaged.
        """
        with self._registry.change() as change:
            now = self._clock()
            role = _role(secret, change.listing.tokens, now)
            if role is None:
                raise EnrolmentError(
                    "the join token is unknown or has expired; get another with "
                    "`mlpeft-coordinator token` on the head node"
                )
            try:
                return self._issue(change, name, request, role)
            except CertificateError as error:
                raise EnrolmentError(str(error)) from error

    def certify_operator(self, name: str, request: bytes) -> bytes:
        """Issue an operator's certificate to a key of this machine, without token; PEM.

        Revokes earlier operator certificates of that name.

        Args:
            name: The operator's name.
            request: Certificate request, PEM.

        Raises:
            EnrolmentError: If a worker has that name.
        """
        with self._registry.change() as change:
            now = self._clock()
            change.replace_workers(
                tuple(
                    replace(record, revoked=now)
                    if (record.name, record.role, record.revoked)
                    == (name, OPERATOR, None)
                    else record
                    for record in change.listing.workers
                )
            )
            return self._issue(change, name, request, OPERATOR)

    def _issue(self, change: Change, name: str, request: bytes, role: str) -> bytes:
        """Sign a certificate and add it to the list."""
        now = self._clock()
        _check_free(name, request, change.listing.workers, now)
        certificate = certificates.sign_request(self._ca, request, name)
        info = certificates.read(certificate)
        record = EnrolledWorker(
            name,
            info.serial,
            certificate.decode(),
            now,
            info.not_after.timestamp(),
            role=role,
        )
        change.replace_workers((*change.listing.workers, record))
        return certificate

    # --- after the join ---------------------------------------------------------------

    def refusal(self, serial: str) -> str | None:
        """Why the holder of a certificate may not enter and what to do, or None.

        A certificate that the CA signed but that is not on the list is refused.

        Raises:
            SecurityError: If the list cannot be read.
        """
        for record in self._registry.read().workers:
            if record.serial != serial:
                continue
            if record.revoked is None:
                return None
            return (
                f"the certificate of {record.name} was revoked; if that was a mistake, "
                "join again with a new token"
            )
        return "this certificate is not on the coordinator's list; join with a token"

    def is_operator(self, serial: str) -> bool:
        """Whether a certificate is an operator's and not revoked.

        Raises:
            SecurityError: If the list cannot be read.
        """
        return any(
            record.serial == serial
            and record.role == OPERATOR
            and record.revoked is None
            for record in self._registry.read().workers
        )

    def workers(self) -> tuple[EnrolledWorker, ...]:
        """All issued certificates, in the order of issue."""
        return self._registry.read().workers

    def revoke(self, name: str) -> int:
        """Revoke all certificates of a worker, and all tokens; how many certificates.

        Tokens are revoked because the machine may hold one.

        Raises:
            SecurityError: If the worker has no valid certificate.
        """
        with self._registry.change() as change:
            now = self._clock()
            old = change.listing.workers
            new = tuple(
                replace(record, revoked=now)
                if record.name == name and record.revoked is None
                else record
                for record in old
            )
            count = sum(a != b for a, b in zip(old, new, strict=True))
            if count == 0:
                raise SecurityError(_no_worker_text(name, old))
            change.replace_workers(new)
            change.replace_tokens(())
        return count


def _check_free(
    name: str, request: bytes, workers: Sequence[EnrolledWorker], now: float
) -> None:
    """Refuse a name in use: log and list could not distinguish the machines."""
    for record in workers:
        in_use = record.name == name and record.revoked is None and record.expires > now
        if in_use and not certificates.same_key(record.certificate.encode(), request):
            raise EnrolmentError(
                f"another machine is called {name}; give another --name, or first run "
                f"`mlpeft-coordinator workers revoke {name}` on the head node"
            )


def _role(secret: str, tokens: Sequence[TokenRecord], now: float) -> str | None:
    """The role of the valid token with this secret, compared in constant time."""
    digest = _digest(secret)
    role = None
    for record in tokens:
        matches = hmac.compare_digest(digest, record.secret_sha256)
        if matches and record.expires > now:
            role = record.role
    return role


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def _no_worker_text(name: str, workers: Sequence[EnrolledWorker]) -> str:
    active = sorted({record.name for record in workers if record.revoked is None})
    listed = f"workers: {', '.join(active)}" if active else "no worker has joined"
    return f"no worker {name} has a certificate to revoke; {listed}"


def _read_port(file: Path) -> int:
    """Read a port file; the default if the folder is older than such files."""
    try:
        return int(file.read_bytes())
    except FileNotFoundError:
        return JOIN_PORT
    except ValueError as error:
        raise SecurityError(
            f"{file} holds no port; write one to it, such as {JOIN_PORT}"
        ) from error


def _read_pair(folder: Path, name: str) -> KeyPair:
    return KeyPair(
        (folder / f"{name}.pem").read_bytes(), read_private(folder / f"{name}.key")
    )


def _write_pair(folder: Path, name: str, pair: KeyPair) -> None:
    write_private(folder / f"{name}.key", pair.key)
    write_private(folder / f"{name}.pem", pair.certificate)
