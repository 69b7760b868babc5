"""The coordinator's side: which blobs a run's workers may fetch."""

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
"""Reading as much takes a while."""


@dataclass(frozen=True, slots=True)
class Blob:
    """Bytes that can be fetched.

    Attributes:
        label: What it is, for people.
        size_bytes: How many bytes.
        path: Where they are; None: in `content`.
        content: The bytes of a manifest.
        changed: The file's time of change when its digest was taken.
    """

    label: str
    size_bytes: int
    path: Path | None = None
    content: bytes = b""
    changed: int = 0

    def open(self, offset: int) -> BinaryIO:
        """The bytes from an offset on.

        Raises:
            DataError: If the offset is behind the end, or the file is another by now.
        """
        if offset > self.size_bytes:
            raise DataError(
                f"{self.label} has {self.size_bytes} bytes; asked for those from "
                f"{offset} on"
            )
        if self.path is None:
            return io.BytesIO(self.content[offset:])
        try:
            file = self.path.open("rb")
            status = self.path.stat()
        except OSError as error:
            raise self._gone(str(error)) from error
        if (status.st_size, status.st_mtime_ns) != (self.size_bytes, self.changed):
            file.close()
            raise self._gone(f"{self.path} was changed")
        file.seek(offset)
        return file

    def _gone(self, what: str) -> DataError:
        return DataError(
            f"{self.label} is not what it was when the coordinator started: {what}; "
            "start the coordinator again with --resume"
        )


class Offer:
    """What the workers of a run may fetch: blobs of the assets that its config names.

    Args:
        assets: As workers are told.
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
        """The offer of a run; reads all files once for their digests.

        Raises:
            DataError: If an asset is not here.
        """
        offered: list[OfferedAsset] = []
        blobs: dict[str, Blob] = {}
        for asset in assets_of(config):
            try:
                place = asset.locate(config.paths.data_dir)
            except DataError:
                if asset.kind is AssetKind.PACKAGED:
                    continue  # the package has it in another way; workers need it too
                raise
            _tell_if_large(asset, place)
            if place.is_dir():
                offered.append(_folder(asset, place, blobs))
            else:
                digest = file_sha256(place)
                blobs[digest] = _file_blob(asset.name, place)
                size = blobs[digest].size_bytes
                offered.append(OfferedAsset(asset.name, digest, size))
        return cls(tuple(offered), blobs)

    def blob(self, sha256: str) -> Blob | None:
        """The blob of this digest; None if the run has none."""
        return self._blobs.get(sha256)


def _folder(asset: Asset, place: Path, blobs: dict[str, Blob]) -> OfferedAsset:
    entries = manifest_of(place, asset)
    for entry in entries:
        label = f"{place.name}/{entry.path}"
        blobs[entry.sha256] = _file_blob(label, place / entry.path)
    data = encode(entries)
    digest = hashlib.sha256(data).hexdigest()
    label = f"the list of files of {asset.name}"
    blobs[digest] = Blob(label, len(data), content=data)
    return OfferedAsset(asset.name, digest, len(data), is_folder=True)


def _tell_if_large(asset: Asset, place: Path) -> None:
    """Say why the start takes seconds, where it does."""
    files = place.rglob("*") if place.is_dir() else [place]
    size = sum(file.stat().st_size for file in files if file.is_file())
    if size >= LARGE_BYTES:
        log.info("reading %s, %s, to offer it to workers", asset.name, size_text(size))


def _file_blob(label: str, path: Path) -> Blob:
    status = path.stat()
    return Blob(label, status.st_size, path, changed=status.st_mtime_ns)
