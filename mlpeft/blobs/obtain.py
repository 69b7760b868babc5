"""The worker's side: have every file of a run, fetching those that are not here."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from mlpeft.blobs import manifest
from mlpeft.blobs.manifest import Entry
from mlpeft.blobs.needs import assets_of
from mlpeft.datasets.digest import file_sha256
from mlpeft.errors import DataError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence
    from pathlib import Path

    from mlpeft.blobs.cache import BlobCache
    from mlpeft.blobs.incoming import Incoming
    from mlpeft.blobs.manifest import OfferedAsset
    from mlpeft.config import RunConfig
    from mlpeft.datasets.assets import Asset

log = logging.getLogger("mlpeft.worker")

TELL_S = 2.0
"""Seconds between two lines that say how far a transfer is."""
POLL_S = 0.1
"""Seconds between looks at whether another process has fetched a blob."""
MOST_MANIFEST_BYTES = 64 << 20


class Fetch(Protocol):
    """Asks the coordinator for a blob."""

    def __call__(self, sha256: str, offset: int) -> AsyncGenerator[bytes, None]:
        """The bytes of a blob from an offset on, in pieces."""
        ...


class Obtainer:
    """Brings together the files of runs, one run after another.

    Args:
        cache: Where fetched blobs are kept.
    """

    def __init__(self, cache: BlobCache) -> None:
        self._cache = cache

    async def obtain(
        self, config: RunConfig, offered: Sequence[OfferedAsset], fetch: Fetch
    ) -> dict[str, Path]:
        """Where each asset of a run is on this machine, by its name.

        What is here already with the digest that the coordinator has, in a data folder,
        at the place that the configuration names or in the cache, is not fetched. Names
        that the configuration does not have are not believed.

        Args:
            config: The run's.
            offered: What the coordinator says that it has.
            fetch: Asks for a blob. What it raises when the line breaks passes through;
                what has come by then is kept, and the next call goes on from there.

        Raises:
            DataError: If there is no room, or what comes is not what was offered.
        """
        wanted = {asset.name: asset for asset in assets_of(config)}
        places: dict[str, Path] = {}
        lacking: list[_Lacking] = []
        for offer in offered:
            asset = wanted.get(offer.name)
            if asset is None:
                continue
            here = await asyncio.to_thread(_here, asset, offer, config)
            if here is None:
                lacking.append(_Lacking(asset, offer))
            else:
                places[asset.name] = here
        if not lacking:
            return places
        transfer = _Transfer(self._cache, fetch)
        sizes = {one.offer.sha256: one.offer.size_bytes for one in lacking}
        await asyncio.to_thread(self._cache.claim, sizes)
        for one in lacking:
            await self._list(one, config, transfer)
            sizes |= {entry.sha256: entry.size_bytes for entry in one.entries}
        await asyncio.to_thread(self._cache.claim, sizes)
        for one in lacking:
            places[one.asset.name] = await self._bring(one, transfer)
        transfer.tell_end()
        return places

    async def _list(
        self, one: _Lacking, config: RunConfig, transfer: _Transfer
    ) -> None:
        """Find out which files an asset consists of, and which of them are here."""
        asset, offer = one.asset, one.offer
        if not offer.is_folder:
            name = asset.name.rpartition("/")[2]
            one.entries = (Entry(name, offer.size_bytes, offer.sha256),)
            return
        if offer.size_bytes > MOST_MANIFEST_BYTES:
            raise DataError(
                f"{asset.name} has too many files to travel (a list of "
                f"{offer.size_bytes} bytes); copy the folder to this machine"
            )
        listed = Entry("list of files", offer.size_bytes, offer.sha256)
        path = await transfer.blob(f"{asset.name}: {listed.path}", listed)
        entries = manifest.decode(path.read_bytes(), asset)
        one.here = await asyncio.to_thread(_parts_here, asset, entries, config)
        one.entries = tuple(entry for entry in entries if entry.path not in one.here)

    async def _bring(self, one: _Lacking, transfer: _Transfer) -> Path:
        """Have all files of an asset, under the names that they are looked for by."""
        files = dict(one.here)
        for entry in one.entries:
            label = f"{one.asset.name}: {entry.path}"
            if not one.offer.is_folder:
                label = one.asset.name
            files[entry.path] = await transfer.blob(label, entry)
        folder = await asyncio.to_thread(self._cache.folder_of, one.offer.sha256, files)
        return folder if one.offer.is_folder else folder / one.entries[0].path


@dataclass(slots=True)
class _Lacking:
    """An asset that is not on this machine as a whole.

    Attributes:
        asset: Which one.
        offer: What the coordinator says of it.
        entries: Its files that come from the cache or the coordinator.
        here: Its files that this machine has elsewhere, by their path in it.
    """

    asset: Asset
    offer: OfferedAsset
    entries: tuple[Entry, ...] = ()
    here: dict[str, Path] = field(default_factory=dict)


class _Transfer:
    """Fetches blobs one after another, and says how far it is."""

    def __init__(self, cache: BlobCache, fetch: Fetch) -> None:
        self._cache = cache
        self._fetch = fetch
        self._begun = time.monotonic()
        self._told = self._begun
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
            log.info("going on with %s at %s of %s", label, _mb(kept), _mb(size))
        else:
            log.info("fetching %s, %s", label, _mb(size))
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
                    done = f"{_mb(incoming.size_bytes)} of {_mb(size)}"
                    self._tell(f"fetching {label}: {done}, {self._rate()}")
        return await asyncio.to_thread(incoming.finish, entry.sha256)

    def tell_end(self) -> None:
        """Say what was fetched, if anything was."""
        if self._files:
            files = "1 file" if self._files == 1 else f"{self._files} files"
            log.info("fetched %s, %s, %s", files, _mb(self._bytes), self._rate())

    def _rate(self) -> str:
        elapsed = max(time.monotonic() - self._begun, 1e-3)
        return f"{_mb(self._bytes / elapsed)}/s"

    def _tell(self, text: str) -> None:
        now = time.monotonic()
        if now - self._told >= TELL_S:
            self._told = now
            log.info("%s", text)


def _here(asset: Asset, offer: OfferedAsset, config: RunConfig) -> Path | None:
    """Where this machine has the very asset that is offered, outside of the cache."""
    try:
        place = asset.locate(config.paths.data_dir, download=False)
        if manifest.asset_sha256(asset, place) == offer.sha256:
            return place.absolute()
    except (DataError, OSError):
        return None
    log.info("%s is not the coordinator's %s; taking that", place, asset.name)
    return None


def _parts_here(
    asset: Asset, entries: Sequence[Entry], config: RunConfig
) -> dict[str, Path]:
    """The files of a folder that this machine has outside of the cache, by path."""
    found = {}
    with contextlib.suppress(DataError, OSError):
        folder = asset.locate(config.paths.data_dir, download=False)
        for entry in entries:
            path = folder / entry.path
            same_size = path.is_file() and path.stat().st_size == entry.size_bytes
            if same_size and file_sha256(path) == entry.sha256:
                found[entry.path] = path.absolute()
    return found


def _mb(size: float) -> str:
    return f"{size / 1e6:,.1f} MB"
