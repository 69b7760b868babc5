"""Downloads that survive a broken connection and are checked before they are used.

A file grows under the name FILE.part. When the connection breaks, the rest is asked for
(HTTP Range); a server that does not know how sends the whole file again. Only a file
with the right digest gets its name.
"""

from __future__ import annotations

import http.client
import re
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from mlpeft.errors import DataError
from mlpeft.files import file_digest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from typing import IO

CHUNK_BYTES = 64 * 1024
TIMEOUT_S = 30.0
MAX_FAILURES = 5
"""Failures in a row, without a byte between them, after which to give up; 1 if the
server has not answered at all."""

_BROKEN = (
    urllib.error.URLError,
    http.client.HTTPException,
    ConnectionError,
    TimeoutError,
)
_PARTIAL = 206
_UNSATISFIABLE = 416


@dataclass(frozen=True, slots=True)
class Remote:
    """A file on a server.

    Attributes:
        url: Where, http or https.
        digest: Hexadecimal, of its bytes.
        algorithm: Of the digest, as hashlib names it.
    """

    url: str
    digest: str
    algorithm: str = "sha256"


class _Restart(Exception):  # noqa: N818 - no error: what is there is of no use
    """The part that is there cannot be continued."""


def download(
    remote: Remote,
    target: Path,
    progress: Callable[[int, int | None], None] | None = None,
    pause: Callable[[float], None] = time.sleep,
) -> None:
    """Fetch a file, going on from what is there of it.

    Args:
        remote: The file.
        target: What to call it here; its folder is made.
        progress: Told how far it is.
        pause: Waits so many seconds before another try.

    Raises:
        DataError: If the server cannot be reached, refuses, or has another file than
            expected. What has arrived is kept for the next call where it is of use.
    """
    if urlsplit(remote.url).scheme not in {"http", "https"}:
        raise DataError(f"{remote.url}: expected an http or https address")
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(target.name + ".part")
    resumed = _fetch(remote, part, progress, pause)
    found = file_digest(part, remote.algorithm)
    if found != remote.digest and resumed:
        # What was there may have been the beginning of another version.
        part.unlink()
        _fetch(remote, part, progress, pause)
        found = file_digest(part, remote.algorithm)
    if found != remote.digest:
        part.unlink()
        raise DataError(
            f"{remote.url} has {remote.algorithm} {found}, expected {remote.digest}: "
            "damaged on the way, or no longer the same file. Nothing was kept; try "
            "again, and if it happens again, get the file elsewhere and import it"
        )
    part.replace(target)


def _fetch(
    remote: Remote,
    part: Path,
    progress: Callable[[int, int | None], None] | None,
    pause: Callable[[float], None],
) -> bool:
    """Have all bytes in `part`; whether some were there from an earlier call."""
    resumed = part.exists() and part.stat().st_size > 0
    failures, reached = 0, False
    while True:
        before = part.stat().st_size if part.exists() else 0
        try:
            _continue(remote.url, part, before, progress)
        except _Restart:
            part.unlink(missing_ok=True)
            reached = True
            reason: object = "the server would not go on from what is there"
        except urllib.error.HTTPError as error:
            error.close()
            if error.code < 500:
                raise DataError(
                    f"{remote.url}: the server says {error.code} {error.reason}"
                ) from error
            reached = True
            reason = error
        except _BROKEN as error:
            reason = getattr(error, "reason", error)
        else:
            return resumed
        there = part.stat().st_size if part.exists() else 0
        reached = reached or there > before
        failures = 1 if there > before else failures + 1
        # A server that has not answered once is most likely out of reach.
        if failures >= MAX_FAILURES or not reached:
            kept = (
                f"; {there} bytes are kept in {part} for the next try" if there else ""
            )
            raise DataError(
                f"cannot fetch {remote.url}: {reason}{kept}. Is there a network? "
                "Without one, get the file on another machine and import it"
            )
        pause(2.0 ** (failures - 1))


def _continue(
    url: str,
    part: Path,
    start: int,
    progress: Callable[[int, int | None], None] | None,
) -> None:
    """Ask for the bytes from `start` on and append what comes.

    Raises:
        _Restart: If the server cannot send them.
        ConnectionError: If it sends fewer than it said.
    """
    headers = {"User-Agent": "mlpeft", "Accept-Encoding": "identity"}
    if start:
        headers["Range"] = f"bytes={start}-"
    request = urllib.request.Request(url, headers=headers)  # noqa: S310 - http(s) only
    try:
        response = urllib.request.urlopen(request, timeout=TIMEOUT_S)  # noqa: S310
    except urllib.error.HTTPError as error:
        if error.code != _UNSATISFIABLE:
            raise
        error.close()
        # There is nothing after `start`: it is all there, or it is of another file.
        if _size_in(error.headers.get("Content-Range")) == start:
            return
        raise _Restart from error
    with response:
        if start and response.status == _PARTIAL:
            if not _starts_at(response.headers.get("Content-Range"), start):
                raise _Restart
            mode, there = "ab", start
        else:
            mode, there = "wb", 0
        length = response.headers.get("Content-Length")
        total = None if length is None else there + int(length)
        with part.open(mode) as file:
            there = _copy(response, file, there, total, progress)
    if total is not None and there < total:
        raise ConnectionError(f"the connection ended after {there} of {total} bytes")


def _copy(
    response: http.client.HTTPResponse,
    file: IO[bytes],
    there: int,
    total: int | None,
    progress: Callable[[int, int | None], None] | None,
) -> int:
    while chunk := response.read(CHUNK_BYTES):
        file.write(chunk)
        there += len(chunk)
        if progress is not None:
            progress(there, total)
    return there


def _starts_at(content_range: str | None, start: int) -> bool:
    match = re.match(r"bytes (\d+)-", content_range or "")
    return match is not None and int(match[1]) == start


def _size_in(content_range: str | None) -> int | None:
    match = re.fullmatch(r"bytes \*/(\d+)", content_range or "")
    return int(match[1]) if match else None
