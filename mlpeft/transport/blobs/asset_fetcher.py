"""The worker's side: provides a run's files, fetching the missing ones."""

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

MAX_MANIFEST_BYTES = 64 << 20


class AssetFetcher:
    """Provides the files of runs on this machine; fetches the missing ones.

    Args:
        cache: The cache of fetched blobs.
    """

    def __init__(self, cache: BlobCache) -> None:
        self._cache = cache

    async def fetch_assets(
        self, config: RunConfig, offers: Sequence[OfferedAsset], fetch: Fetch
    ) -> dict[str, Path]:
        """The path of each asset of a run on this machine, by its name.

        It does not fetch what this machine has with the coordinator's digest: in a data
        folder, at the path in the configuration, or in the cache. It ignores names that
        the configuration does not have.

        Args:
            config: The run's configuration.
            offers: The assets that the coordinator offers.
            fetch: Fetches a blob. Its connection errors propagate; the bytes received
                until then are kept, and the next call resumes from there.

        Raises:
            DataError: If there is no room, or a file is not the one offered.
        """
        assets = {asset.name: asset for asset in assets_of(config)}
        paths: dict[str, Path] = {}
        missing: list[_MissingAsset] = []
        for offer in offers:
            asset = assets.get(offer.name)
            if asset is None:
                continue
            path = await asyncio.to_thread(_find_asset, asset, offer, config)
            if path is None:
                missing.append(_MissingAsset(asset, offer))
            else:
                paths[asset.name] = path
        if not missing:
            return paths
        transfer = Transfer(self._cache, fetch)
        sizes = {each.offer.sha256: each.offer.size_bytes for each in missing}
        await asyncio.to_thread(self._cache.claim, sizes)
        for each in missing:
            await self._list_files(each, config, transfer)
            sizes |= {entry.sha256: entry.size_bytes for entry in each.entries}
        await asyncio.to_thread(self._cache.claim, sizes)
        for each in missing:
            paths[each.asset.name] = await self._fetch_files(each, transfer)
        transfer.log_total()
        return paths

    async def _list_files(
        self, missing: _MissingAsset, config: RunConfig, transfer: Transfer
    ) -> None:
        """Find out which files an asset has, and which of them this machine has."""
        asset, offer = missing.asset, missing.offer
        if not offer.is_folder:
            entry = Entry(asset.file_name, offer.size_bytes, offer.sha256)
            missing.entries = (entry,)
            return
        if offer.size_bytes > MAX_MANIFEST_BYTES:
            raise DataError(
                f"{asset.name} has too many files to fetch (a list of "
                f"{offer.size_bytes} bytes); copy the folder to this machine"
            )
        listing = Entry("list of files", offer.size_bytes, offer.sha256)
        path = await transfer.fetch(f"{asset.name}: {listing.path}", listing)
        entries = manifest.decode(path.read_bytes(), asset)
        missing.local = await asyncio.to_thread(_find_files, asset, entries, config)
        missing.entries = tuple(
            entry for entry in entries if entry.path not in missing.local
        )

    async def _fetch_files(self, missing: _MissingAsset, transfer: Transfer) -> Path:
        """Fetch an asset's missing files and link all under their names."""
        files = dict(missing.local)
        for entry in missing.entries:
            label = f"{missing.asset.name}: {entry.path}"
            if not missing.offer.is_folder:
                label = missing.asset.name
            files[entry.path] = await transfer.fetch(label, entry)
        folder = await asyncio.to_thread(
            self._cache.link_folder, missing.offer.sha256, files
        )
        return folder if missing.offer.is_folder else folder / missing.entries[0].path


@dataclass(slots=True)
class _MissingAsset:
    """An asset that this machine does not have completely.

    Attributes:
        asset: The asset.
        offer: The coordinator's offer of it.
        entries: Its files from the cache or the coordinator.
        local: Its files elsewhere on this machine, by path within the asset.
    """

    asset: Asset
    offer: OfferedAsset
    entries: tuple[Entry, ...] = ()
    local: dict[str, Path] = field(default_factory=dict)


def _find_asset(asset: Asset, offer: OfferedAsset, config: RunConfig) -> Path | None:
    """The path of the offered asset on this machine outside of the cache."""
    try:
        path = asset.locate(config.paths.data_dir, download=False)
        if manifest.asset_sha256(asset, path) == offer.sha256:
            return path.absolute()
    except (DataError, OSError):
        return None
    log.info("%s differs from the coordinator's %s; using that", path, asset.name)
    return None


def _find_files(
    asset: Asset, entries: Sequence[Entry], config: RunConfig
) -> dict[str, Path]:
    """The files of a folder that this machine has outside of the cache, by path."""
    files = {}
    with contextlib.suppress(DataError, OSError):
        folder = asset.locate(config.paths.data_dir, download=False)
        for entry in entries:
            path = folder / entry.path
            same_size = path.is_file() and path.stat().st_size == entry.size_bytes
            if same_size and file_sha256(path) == entry.sha256:
                files[entry.path] = path.absolute()
    return files
