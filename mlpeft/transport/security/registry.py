"""The coordinator's list of join tokens and workers, a JSON file.

Several processes use it: a running coordinator, and `mlpeft-coordinator workers revoke`
in another terminal. Changes are made under a lock, and readers see each at once.
"""

from __future__ import annotations

import fcntl
import json
import time
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING

from mlpeft.transport.security.folders import SecurityError, write_private

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from typing import IO

LOCK_S = 5.0
"""How long a change waits for another process to finish one; they take milliseconds."""
LOOK_S = 0.02

WORKER = "worker"
OPERATOR = "operator"
"""What a certificate is for: to compute, or to steer as well."""


@dataclass(frozen=True, slots=True)
class TokenRecord:
    """A token that was handed out.

    Attributes:
        secret_sha256: Hash of its secret.
        expires: Unix time.
        role: What the certificates are for that it is traded for.
    """

    secret_sha256: str
    expires: float
    role: str = WORKER


@dataclass(frozen=True, slots=True)
class EnrolledWorker:
    """A certificate that was issued; times are Unix times.

    Attributes:
        name: Whose.
        serial: Hexadecimal.
        certificate: PEM.
        issued: When.
        expires: When it ends by itself.
        revoked: When it was revoked, or None.
        role: What it is for; kept here, where nobody but the coordinator writes.
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
    """What the file holds."""

    tokens: tuple[TokenRecord, ...] = ()
    workers: tuple[EnrolledWorker, ...] = field(default=())


class Registry:
    """The file, read again whenever it was replaced.

    Args:
        path: Where it is; a file that is missing is an error, not an empty list.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen: tuple[int, int, int] | None = None
        self._listing = Listing()

    def read(self) -> Listing:
        """The list as it is now.

        Raises:
            SecurityError: If it cannot be read: then nobody can be let in.
        """
        try:
            stat = self._path.stat()
            seen = (stat.st_ino, stat.st_mtime_ns, stat.st_size)
            if seen != self._seen:
                self._listing = _parse(self._path.read_bytes())
                self._seen = seen
        except (OSError, ValueError, TypeError, KeyError) as error:
            self._seen = None
            raise SecurityError(
                f"the list of workers, {self._path}, cannot be read ({error}); restore "
                "it, or start anew with `mlpeft-coordinator init` in another folder"
            ) from error
        return self._listing

    @contextmanager
    def change(self) -> Iterator[Change]:
        """Read, change and write, with nobody else between.

        Raises:
            SecurityError: If the list cannot be read, or another process keeps it.
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
                        f"another process has kept {lock.name} for {LOCK_S:g} s; is an "
                        "mlpeft-coordinator command stopped? End it and try again"
                    ) from error
                time.sleep(LOOK_S)
            else:
                return

    def create(self) -> None:
        """Begin an empty list."""
        write_private(self._path, _format(Listing()))


class Change:
    """A list that is about to be written."""

    def __init__(self, listing: Listing) -> None:
        self.listing = listing

    def replace_tokens(self, tokens: tuple[TokenRecord, ...]) -> None:
        """Have these tokens, and no others."""
        self.listing = replace(self.listing, tokens=tokens)

    def replace_workers(self, workers: tuple[EnrolledWorker, ...]) -> None:
        """Have these certificates on the list, and no others."""
        self.listing = replace(self.listing, workers=workers)


def _parse(content: bytes) -> Listing:
    tree = json.loads(content)
    return Listing(
        tuple(TokenRecord(**record) for record in tree["tokens"]),
        tuple(EnrolledWorker(**record) for record in tree["workers"]),
    )


def _format(listing: Listing) -> bytes:
    return json.dumps(asdict(listing), indent=1).encode()
