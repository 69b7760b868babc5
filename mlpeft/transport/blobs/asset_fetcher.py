"""The worker's side: have every file of a run, fetching those that are not here."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from mlpeft.errors import DataError
from mlpeft.files import file_sha256
from mlpeft.transport.blobs import manifest
from mlpeft.transport.blobs.manifest import Entry, assets_of
from mlpeft.transport.blobs.transfer import Transfer

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from mlpeft.config import RunConfig
    from mlpeft.tasks.assets import Asset
    from mlpeft.transport.blobs.cache import BlobCache
    from mlpeft.transport.blobs.manifest import OfferedAsset
    from mlpeft.transport.blobs.transfer import Fetch

log = logging.getLogger("mlpeft.worker")

MOST_MANIFEST_BYTES = 64 << 20


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
        transfer = Transfer(self._cache, fetch)
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

    async def _list(self, one: _Lacking, config: RunConfig, transfer: Transfer) -> None:
        """Find out which files an asset consists of, and which of them are here."""
        asset, offer = one.asset, one.offer
        if not offer.is_folder:
            entry = Entry(asset.file_name, offer.size_bytes, offer.sha256)
            one.entries = (entry,)
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

    async def _bring(self, one: _Lacking, transfer: Transfer) -> Path:
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
