"""Fetching blobs into the cache, with a word on how far it is."""

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

TELL_S = 2.0
"""Seconds between two lines that say how far a transfer is."""
POLL_S = 0.1
"""Seconds between looks at whether another process has fetched a blob."""
LARGE_BYTES = 1 << 20
"""Files as large as this get a line of their own."""


class Fetch(Protocol):
    """Asks the coordinator for a blob."""

    def __call__(self, sha256: str, offset: int) -> AsyncGenerator[bytes, None]:
        """The bytes of a blob from an offset on, in pieces."""
        ...


class Transfer:
    """Fetches blobs one after another, and says how far it is."""

    def __init__(self, cache: BlobCache, fetch: Fetch) -> None:
        self._cache = cache
        self._fetch = fetch
        self._told = time.monotonic()
        self._told_bytes = 0
        self._bytes = 0
        self._files = 0

    async def blob(self, label: str, entry: Entry) -> Path:
        """The blob in the cache, fetched if it is not there."""
        while True:
            there = await asyncio.to_thread(self._cache.get, entry.sha256)
            if there is not None:
                return there
            with self._cache.receive(entry.sha256) as incoming:
                if incoming is not None:
                    return await self._receive(label, entry, incoming)
            self._tell(f"another worker of this machine is fetching {label}")
            await asyncio.sleep(POLL_S)

    async def _receive(self, label: str, entry: Entry, incoming: Incoming) -> Path:
        size = entry.size_bytes
        kept = await asyncio.to_thread(incoming.read_kept, size)
        if kept:
            at = f"{size_text(kept)} of {size_text(size)}"
            log.info("going on with %s at %s", label, at)
        else:
            level = logging.INFO if size >= LARGE_BYTES else logging.DEBUG
            log.log(level, "fetching %s, %s", label, size_text(size))
        whole = await self._append(label, entry, incoming)
        if whole is None and kept:
            log.warning("what was kept of %s is damaged: fetching it anew", label)
            whole = await self._append(label, entry, incoming)
        if whole is None:
            raise DataError(
                f"{label} came with another digest than {entry.sha256[:12]}, which the "
                "coordinator promised: damaged on the way or on its disk. Nothing was "
                "kept. Check its files (mlpeft data verify), start it again with "
                "--resume, and then this worker"
            )
        self._files += 1
        return whole

    async def _append(
        self, label: str, entry: Entry, incoming: Incoming
    ) -> Path | None:
        """Fetch what lacks; the blob in its place, or None if it is another one."""
        size = entry.size_bytes
        if incoming.size_bytes < size:
            pieces = self._fetch(entry.sha256, incoming.size_bytes)
            async with contextlib.aclosing(pieces):
                async for piece in pieces:
                    if incoming.size_bytes + len(piece) > size:
                        raise DataError(
                            f"more than the promised {size} bytes came for {label}"
                        )
                    await asyncio.to_thread(incoming.write, piece)
                    self._bytes += len(piece)
                    done = f"{size_text(incoming.size_bytes)} of {size_text(size)}"
                    self._tell(f"fetching {label}: {done}")
        return await asyncio.to_thread(incoming.finish, entry.sha256)

    def tell_end(self) -> None:
        """Say what was fetched, if anything was."""
        if self._files:
            files = "1 file" if self._files == 1 else f"{self._files} files"
            log.info("fetched %s, %s", files, size_text(self._bytes))

    def _tell(self, text: str) -> None:
        """Say something and how fast it goes, if nothing was said for a while."""
        now = time.monotonic()
        elapsed = now - self._told
        if elapsed < TELL_S:
            return
        rate = (self._bytes - self._told_bytes) / max(elapsed, 1e-3)
        self._told, self._told_bytes = now, self._bytes
        log.info("%s, %s/s", text, size_text(rate))
