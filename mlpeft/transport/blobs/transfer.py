"""Fetches blobs into the cache and logs the progress."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from typing import TYPE_CHECKING, Protocol

from mlpeft.errors import DataError
from mlpeft.files import size_text

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from pathlib import Path

    from mlpeft.transport.blobs.cache import BlobCache
    from mlpeft.transport.blobs.incoming import Incoming
    from mlpeft.transport.blobs.manifest import Entry

log = logging.getLogger("mlpeft.worker")

LOG_S = 2.0
"""Seconds between log lines about a transfer."""
POLL_S = 0.1
"""Seconds between checks whether another process has fetched a blob."""
LARGE_BYTES = 1 << 20
"""Size from which each file is logged."""


class Fetch(Protocol):
    """Fetches a blob from the coordinator."""

    def __call__(self, sha256: str, offset: int) -> AsyncGenerator[bytes, None]:
        """Yield the bytes of a blob from an offset on, in pieces."""
        ...


class Transfer:
    """Fetches blobs one after another and logs the progress."""

    def __init__(self, cache: BlobCache, fetch: Fetch) -> None:
        self._cache = cache
        self._fetch = fetch
        self._logged_at = time.monotonic()
        self._logged_bytes = 0
        self._bytes = 0
        self._files = 0

    async def fetch(self, label: str, entry: Entry) -> Path:
        """The path of a blob in the cache; fetches it if it is missing."""
        while True:
            cached = await asyncio.to_thread(self._cache.get, entry.sha256)
            if cached is not None:
                return cached
            with self._cache.receive(entry.sha256) as incoming:
                if incoming is not None:
                    return await self._receive(label, entry, incoming)
            self._log_progress(f"another worker of this machine is fetching {label}")
            await asyncio.sleep(POLL_S)

    async def _receive(self, label: str, entry: Entry, incoming: Incoming) -> Path:
        size = entry.size_bytes
        resumed = await asyncio.to_thread(incoming.resume, size)
        if resumed:
            position = f"{size_text(resumed)} of {size_text(size)}"
            log.info("resuming %s at %s", label, position)
        else:
            level = logging.INFO if size >= LARGE_BYTES else logging.DEBUG
            log.log(level, "fetching %s, %s", label, size_text(size))
        path = await self._append(label, entry, incoming)
        if path is None and resumed:
            log.warning("the partial file of %s is damaged; fetching it again", label)
            path = await self._append(label, entry, incoming)
        if path is None:
            raise DataError(
                f"{label} has another digest than {entry.sha256[:12]}, which the "
                "coordinator offered: it was damaged in transit or on the "
                "coordinator's disk. Check the files there (mlpeft data verify), start "
                "the coordinator again with --resume, then this worker"
            )
        self._files += 1
        return path

    async def _append(
        self, label: str, entry: Entry, incoming: Incoming
    ) -> Path | None:
        """Fetch the missing bytes; the blob's path, or None on a wrong digest."""
        size = entry.size_bytes
        if incoming.size_bytes < size:
            pieces = self._fetch(entry.sha256, incoming.size_bytes)
            async with contextlib.aclosing(pieces):
                async for piece in pieces:
                    if incoming.size_bytes + len(piece) > size:
                        raise DataError(
                            f"got more than the offered {size} bytes of {label}"
                        )
                    await asyncio.to_thread(incoming.write, piece)
                    self._bytes += len(piece)
                    done = f"{size_text(incoming.size_bytes)} of {size_text(size)}"
                    self._log_progress(f"fetching {label}: {done}")
        return await asyncio.to_thread(incoming.finish, entry.sha256)

    def log_total(self) -> None:
        """Log how much was fetched, if anything was."""
        if self._files:
            files = "1 file" if self._files == 1 else f"{self._files} files"
            log.info("fetched %s, %s", files, size_text(self._bytes))

    def _log_progress(self, text: str) -> None:
        """Log a text and the speed, at most every `LOG_S`."""
        now = time.monotonic()
        elapsed_s = now - self._logged_at
        if elapsed_s < LOG_S:
            return
        rate = (self._bytes - self._logged_bytes) / max(elapsed_s, 1e-3)
        self._logged_at, self._logged_bytes = now, self._bytes
        log.info("%s, %s/s", text, size_text(rate))
