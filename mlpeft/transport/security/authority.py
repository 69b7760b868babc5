"""The coordinator's folder of secrets: CA, server certificate, tokens, workers.

    ca.pem  ca.key  server.pem  server.key  names.json  join_port  registry.json

Whoever can read the folder can let anybody in: it is private to its owner.
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
"""How long a join token is good for, unless asked otherwise."""

JOIN_PORT = 50052
"""Where the coordinator takes joins, unless `create` was told otherwise."""


class EnrolmentError(SecurityError):
    """A join that is refused; the message is for the worker and tells no secret."""


class Authority:
    """Who may enter.

    Args:
        folder: Made by `create`.
        clock: Unix time; for tests.

    Attributes:
        join_port: Where the coordinator takes joins, as `create` was told.

    Raises:
        SecurityError: If the folder is not set up, or others may read its keys.
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
        """Make CA and server certificate.

        Args:
            folder: Where; must not hold a CA yet.
            names: Host names and addresses of the coordinator.
            clock: Unix time; for tests.
            join_port: Where it takes joins; remembered for it and for its tokens.

        Raises:
            SecurityError: If there is a CA: a new one would shut out every worker.
            CertificateError: If a name is neither a host name nor an address.
        """
        if (folder / "ca.key").exists():
            raise SecurityError(
                f"{folder} has a CA already; a new one would shut out every worker. "
                "`mlpeft-coordinator token` makes another token, --dir another CA"
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
        """Names and addresses of the coordinator, the one to dial first."""
        return tuple(self._names)

    def server_pair(self) -> KeyPair:
        """The server's certificate and key; a new one if it ends soon."""
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
        """A token with which machines may join for so long.

        Args:
            address: host:port where the coordinator takes joins.
            lifetime_s: From now, in seconds.
            role: What their certificates are for: WORKER, or OPERATOR.
        """
        made = token.JoinToken(
            address,
            certificates.fingerprint(self._ca.certificate),
            token.new_secret(),
        )
        now = self._clock()
        record = TokenRecord(_digest(made.secret), now + lifetime_s, role)
        with self._registry.change() as change:
            live = [old for old in change.listing.tokens if old.expires > now]
            change.replace_tokens((*live, record))
        return made

    def enrol(self, secret: str, name: str, request: bytes) -> bytes:
        """A certificate for a worker that has a token; PEM.

        A join whose answer was lost may be repeated: the same key gets the same name.

        Args:
            secret: From the token.
            name: What the worker wants to be called.
            request: Its certificate request, PEM.

        Raises:
            EnrolmentError: If the token is not one of ours or is over, the name is
                taken or cannot be one, or the request is damaged.
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

    def appoint(self, name: str, request: bytes) -> bytes:
        """An operator's certificate for a key of this machine, without a token; PEM.

        It takes the place of earlier ones of that name, which are revoked.

        Args:
            name: What it is called.
            request: Certificate request, PEM.

        Raises:
            EnrolmentError: If a worker is called so.
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
        """A certificate, put on the list."""
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

    # --- afterwards -------------------------------------------------------------------

    def refusal(self, serial: str) -> str | None:
        """Why the holder of a certificate may not enter and what to do, or None.

        Only what is on the list is let in: a certificate that the CA signed but the
        list does not know is refused.

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

    def may_steer(self, serial: str) -> bool:
        """Whether a certificate is an operator's, and not revoked.

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
        """Every certificate that was issued, in the order of issue."""
        return self._registry.read().workers

    def revoke(self, name: str) -> int:
        """Revoke all certificates of a worker, and end all tokens; how many.

        Tokens end too: the machine that is shut out may have one.

        Raises:
            SecurityError: If no such worker has one.
        """
        with self._registry.change() as change:
            now = self._clock()
            before = change.listing.workers
            after = tuple(
                replace(record, revoked=now)
                if record.name == name and record.revoked is None
                else record
                for record in before
            )
            count = sum(old != new for old, new in zip(before, after, strict=True))
            if count == 0:
                raise SecurityError(_nobody(name, before))
            change.replace_workers(after)
            change.replace_tokens(())
        return count


def _check_free(
    name: str, request: bytes, workers: Sequence[EnrolledWorker], now: float
) -> None:
    """Two machines of one name could not be told apart in log and list."""
    for record in workers:
        in_use = record.name == name and record.revoked is None and record.expires > now
        if in_use and not certificates.same_key(record.certificate.encode(), request):
            raise EnrolmentError(
                f"another machine is called {name}; choose another --name, or first "
                f"run `mlpeft-coordinator workers revoke {name}` on the head node"
            )


def _role(secret: str, tokens: Sequence[TokenRecord], now: float) -> str | None:
    """The role of the live token with this secret, in time that tells nothing of it."""
    digest = _digest(secret)
    role = None
    for record in tokens:
        same = hmac.compare_digest(digest, record.secret_sha256)
        if same and record.expires > now:
            role = record.role
    return role


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def _nobody(name: str, workers: Sequence[EnrolledWorker]) -> str:
    active = sorted({record.name for record in workers if record.revoked is None})
    known = ", ".join(active) if active else "nobody has joined"
    return f"no worker {name} has a certificate to revoke; there are: {known}"


def _read_port(file: Path) -> int:
    """The port in a file; the usual one if the folder is older than such files."""
    try:
        return int(file.read_bytes())
    except FileNotFoundError:
        return JOIN_PORT
    except ValueError as error:
        raise SecurityError(
            f"{file} holds no port; write one into it, such as {JOIN_PORT}"
        ) from error


def _read_pair(folder: Path, name: str) -> KeyPair:
    return KeyPair(
        (folder / f"{name}.pem").read_bytes(), read_private(folder / f"{name}.key")
    )


def _write_pair(folder: Path, name: str, pair: KeyPair) -> None:
    write_private(folder / f"{name}.key", pair.key)
    write_private(folder / f"{name}.pem", pair.certificate)
