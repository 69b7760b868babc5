"""The coordinator's side: the blobs that a run's workers may fetch."""

from __future__ import annotations

import hashlib
import io
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO

from mlpeft.errors import DataError
from mlpeft.files import file_sha256, size_text
from mlpeft.tasks.assets import Asset, AssetKind
from mlpeft.transport.blobs.manifest import OfferedAsset, assets_of, encode, manifest_of

if TYPE_CHECKING:
    from pathlib import Path

    from mlpeft.config import RunConfig


log = logging.getLogger("mlpeft.coordinator")

LARGE_BYTES = 500_000_000
"""Size of an asset from which reading it is logged: it takes seconds."""


@dataclass(frozen=True, slots=True)
class Blob:
    """Bytes that a worker may fetch.

    Attributes:
        label: A description for messages.
        size_bytes: Its size.
        path: The file; None: the bytes are in `content`.
        content: The bytes of a manifest.
        modified_ns: The file's mtime when it was hashed.
    """

    label: str
    size_bytes: int
    path: Path | None = None
    content: bytes = b""
    modified_ns: int = 0

    def open(self, offset: int) -> BinaryIO:
        """Open the bytes from an offset on.

        Raises:
            DataError: If the offset is beyond the end, or the file has changed.
        """
        if offset > self.size_bytes:
            raise DataError(
                f"{self.label} has {self.size_bytes} bytes; got offset {offset}"
            )
        if self.path is None:
            return io.BytesIO(self.content[offset:])
        try:
            file = self.path.open("rb")
            status = self.path.stat()
        except OSError as error:
            raise self._changed_error(str(error)) from error
        stat = (status.st_size, status.st_mtime_ns)
        if stat != (self.size_bytes, self.modified_ns):
            file.close()
            raise self._changed_error(f"{self.path} was modified")
        file.seek(offset)
        return file

    def _changed_error(self, reason: str) -> DataError:
        return DataError(
            f"{self.label} changed since the coordinator started: {reason}; start the "
            "coordinator again with --resume"
        )


class Offer:
    """The blobs of the assets that a run's configuration names.

    Args:
        assets: The assets, as sent to workers.
        blobs: By digest.
    """

    def __init__(
        self,
        assets: tuple[OfferedAsset, ...] = (),
        blobs: dict[str, Blob] | None = None,
    ) -> None:
        self.assets = assets
        self._blobs = blobs or {}

    @classmethod
    def of(cls, config: RunConfig) -> Offer:
        """Build the offer of a run; hashes all files.

        Raises:
            DataError: If an asset is missing.
        """
        offered: list[OfferedAsset] = []
        blobs: dict[str, Blob] = {}
        for asset in assets_of(config):
            try:
                path = asset.locate(config.paths.data_dir)
            except DataError:
                if asset.kind is AssetKind.PACKAGED:
                    continue  # a package provides it, and workers need that too
                raise
            _log_if_large(asset, path)
            if path.is_dir():
                offered.append(_offer_folder(asset, path, blobs))
            else:
                digest = file_sha256(path)
                blobs[digest] = _file_blob(asset.name, path)
                size = blobs[digest].size_bytes
                offered.append(OfferedAsset(asset.name, digest, size))
        return cls(tuple(offered), blobs)

    def blob(self, sha256: str) -> Blob | None:
        """The blob with this digest; None if the run has none."""
        return self._blobs.get(sha256)


def _offer_folder(asset: Asset, folder: Path, blobs: dict[str, Blob]) -> OfferedAsset:
    entries = manifest_of(folder, asset)
    for entry in entries:
        label = f"{folder.name}/{entry.path}"
        blobs[entry.sha256] = _file_blob(label, folder / entry.path)
    data = encode(entries)
    digest = hashlib.sha256(data).hexdigest()
    label = f"the list of files of {asset.name}"
    blobs[digest] = Blob(label, len(data), content=data)
    return OfferedAsset(asset.name, digest, len(data), is_folder=True)


def _log_if_large(asset: Asset, path: Path) -> None:
    """Log the reading of a large asset, which delays the start."""
    files = path.rglob("*") if path.is_dir() else [path]
    size = sum(file.stat().st_size for file in files if file.is_file())
    if size >= LARGE_BYTES:
        log.info("hashing %s, %s, to offer it to workers", asset.name, size_text(size))


def _file_blob(label: str, path: Path) -> Blob:
    status = path.stat()
    return Blob(label, status.st_size, path, modified_ns=status.st_mtime_ns)
