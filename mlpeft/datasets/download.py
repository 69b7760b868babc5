"""Downloads that resume after a broken connection and are verified before use.

Bytes are appended to FILE.part. After a broken connection the rest is requested (HTTP
Range); a server without range support sends the whole file again. Only a file with the
right digest is renamed to FILE.
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
"""Consecutive failures without a byte received before giving up; 1 if the server has
not answered at all."""

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
        url: Its http or https address.
        digest: Digest of its bytes, in hexadecimal.
        algorithm: The digest's algorithm, as named by hashlib.
    """

    url: str
    digest: str
    algorithm: str = "sha256"


class _Restart(Exception):  # noqa: N818 - not an error: a signal to start again
    """The server cannot resume from the partial file."""


def download(
    remote: Remote,
    target: Path,
    progress: Callable[[int, int | None], None] | None = None,
    pause: Callable[[float], None] = time.sleep,
) -> None:
    """Download a file, resuming from a partial one.

    Args:
        remote: The file.
        target: Its local path; missing folders are created.
        progress: Called with the bytes received and the total, if known.
        pause: Sleeps for this many seconds before a retry.

    Raises:
        DataError: If the server cannot be reached, refuses, or has another file than
            expected. A partial file is kept for the next call if it may be valid.
    """
    if urlsplit(remote.url).scheme not in {"http", "https"}:
        raise DataError(f"{remote.url}: expected an http or https address")
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(target.name + ".part")
    resumed = _fetch(remote, part, progress, pause)
    digest = file_digest(part, remote.algorithm)
    if digest != remote.digest and resumed:
        # The partial file may have been the beginning of another version.
        part.unlink()
        _fetch(remote, part, progress, pause)
        digest = file_digest(part, remote.algorithm)
    if digest != remote.digest:
        part.unlink()
        raise DataError(
            f"{remote.url} has {remote.algorithm} {digest}, expected {remote.digest}: "
            "damaged in transit, or another version. The download was deleted; try "
            "again, and if it fails again, get the file elsewhere and import it"
        )
    part.replace(target)


def _fetch(
    remote: Remote,
    part: Path,
    progress: Callable[[int, int | None], None] | None,
    pause: Callable[[float], None],
) -> bool:
    """Download all bytes into `part`; return whether it resumed an earlier call."""
    resumed = part.exists() and part.stat().st_size > 0
    failures, reached = 0, False
    while True:
        before = part.stat().st_size if part.exists() else 0
        try:
            _continue(remote.url, part, before, progress)
        except _Restart:
            part.unlink(missing_ok=True)
            reached = True
            reason: object = "the server could not resume the download"
        except urllib.error.HTTPError as error:
            error.close()
            if error.code < 500:
                raise DataError(
                    f"{remote.url}: the server answered {error.code} {error.reason}"
                ) from error
            reached = True
            reason = error
        except _BROKEN as error:
            reason = getattr(error, "reason", error)
        else:
            return resumed
        size = part.stat().st_size if part.exists() else 0
        reached = reached or size > before
        failures = 1 if size > before else failures + 1
        # A server that has never answered is most likely unreachable.
        if failures >= MAX_FAILURES or not reached:
            note = f"; {size} bytes are kept in {part} for a retry" if size else ""
            raise DataError(
                f"cannot download {remote.url}: {reason}{note}. Is there a network? "
                "Without one, get the file on another machine and import it"
            )
        pause(2.0 ** (failures - 1))


def _continue(
    url: str,
    part: Path,
    start: int,
    progress: Callable[[int, int | None], None] | None,
) -> None:
    """Request the bytes from `start` on and append them.

    Raises:
        _Restart: If the server cannot send them.
        ConnectionError: If it sends fewer than it announced.
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
        # Nothing after `start`: the file is complete, or part of another version.
        if _size_in(error.headers.get("Content-Range")) == start:
            return
        raise _Restart from error
    with response:
        if start and response.status == _PARTIAL:
            if not _starts_at(response.headers.get("Content-Range"), start):
                raise _Restart
            mode, size = "ab", start
        else:
            mode, size = "wb", 0
        length = response.headers.get("Content-Length")
        total = None if length is None else size + int(length)
        with part.open(mode) as file:
            size = _copy(response, file, size, total, progress)
    if total is not None and size < total:
        raise ConnectionError(f"the connection ended after {size} of {total} bytes")


def _copy(
    response: http.client.HTTPResponse,
    file: IO[bytes],
    size: int,
    total: int | None,
    progress: Callable[[int, int | None], None] | None,
) -> int:
    """Append the response to a file of `size` bytes; return its new size."""
    while chunk := response.read(CHUNK_BYTES):
        file.write(chunk)
        size += len(chunk)
        if progress is not None:
            progress(size, total)
    return size


def _starts_at(content_range: str | None, start: int) -> bool:
    match = re.match(r"bytes (\d+)-", content_range or "")
    return match is not None and int(match[1]) == start


def _size_in(content_range: str | None) -> int | None:
    match = re.fullmatch(r"bytes \*/(\d+)", content_range or "")
    return int(match[1]) if match else None
