"""The coordinator's list of join tokens and workers, a JSON file.

Several processes use it: a running coordinator, and `mlpeft-coordinator workers revoke`
in another terminal. A lock guards changes; readers see each change at once.
"""

from __future__ import annotations

import fcntl
import json
import time
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING

from mlpeft.files import parse_json
from mlpeft.transport.security.folders import SecurityError, write_private

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from typing import IO

LOCK_S = 5.0
"""Seconds to wait for another process's change; changes take milliseconds."""
POLL_S = 0.02

WORKER = "worker"
OPERATOR = "operator"
"""Roles of a certificate: compute only, or control the cluster as well."""


@dataclass(frozen=True, slots=True)
class TokenRecord:
    """An issued token.

    Attributes:
        secret_sha256: Hash of its secret.
        expires: Unix time.
        role: Role of the certificates that it grants.
    """

    secret_sha256: str
    expires: float
    role: str = WORKER


@dataclass(frozen=True, slots=True)
class EnrolledWorker:
    """An issued certificate; times are Unix times.

    Attributes:
        name: The worker's name.
        serial: Hexadecimal.
        certificate: PEM.
        issued: When it was issued.
        expires: When it expires.
        revoked: When it was revoked, or None.
        role: WORKER or OPERATOR; stored here because only the coordinator can write.
    """

    name: str
    serial: str
    certificate: str
    issued: float
    expires: float
    revoked: float | None = None
    role: str = WORKER


@dataclass(frozen=True, slots=True)
class Listing:
    """The contents of the file."""

    tokens: tuple[TokenRecord, ...] = ()
    workers: tuple[EnrolledWorker, ...] = field(default=())


class Registry:
    """Reads and changes the list; reads the file again after each replacement.

    Args:
        path: The file; a missing file is an error, not an empty list.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._read_stat: tuple[int, int, int] | None = None
        self._listing = Listing()

    def read(self) -> Listing:
        """The current list.

        Raises:
            SecurityError: If it cannot be read: then nobody can be admitted.
        """
        try:
            stat = self._path.stat()
            file_stat = (stat.st_ino, stat.st_mtime_ns, stat.st_size)
            if file_stat != self._read_stat:
                self._listing = _parse(self._path.read_bytes())
                self._read_stat = file_stat
        except (OSError, ValueError, TypeError, KeyError) as error:
            self._read_stat = None
            raise SecurityError(
                f"the list of workers, {self._path}, cannot be read ({error}); restore "
                "it, or run `mlpeft-coordinator init` with another folder"
            ) from error
        return self._listing

    @contextmanager
    def change(self) -> Iterator[Change]:
        """Read, change and write the list under the lock.

        Raises:
            SecurityError: If the list cannot be read, or another process holds the
                lock.
        """
        with self._path.with_suffix(".lock").open("w") as lock:
            self._lock(lock)
            change = Change(self.read())
            yield change
            write_private(self._path, _format(change.listing))

    def _lock(self, lock: IO[str]) -> None:
        deadline = time.monotonic() + LOCK_S
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                if time.monotonic() > deadline:
                    raise SecurityError(
                        f"another process has held {lock.name} for {LOCK_S:g} s; is an "
                        "mlpeft-coordinator command suspended? End it and try again"
                    ) from error
                time.sleep(POLL_S)
            else:
                return

    def create(self) -> None:
        """Write an empty list."""
        write_private(self._path, _format(Listing()))


class Change:
    """A list that is about to be written."""

    def __init__(self, listing: Listing) -> None:
        self.listing = listing

    def replace_tokens(self, tokens: tuple[TokenRecord, ...]) -> None:
        """Replace all tokens."""
        self.listing = replace(self.listing, tokens=tokens)

    def replace_workers(self, workers: tuple[EnrolledWorker, ...]) -> None:
        """Replace all certificates."""
        self.listing = replace(self.listing, workers=workers)


def _parse(content: bytes) -> Listing:
    tree = parse_json(content)
    return Listing(
        tuple(TokenRecord(**record) for record in tree["tokens"]),
        tuple(EnrolledWorker(**record) for record in tree["workers"]),
    )


def _format(listing: Listing) -> bytes:
    return json.dumps(asdict(listing), indent=1).encode()
