"""Manifests: the files of a folder as bytes with one digest, on every machine."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mlpeft.errors import DataError
from mlpeft.files import file_sha256, parse_json
from mlpeft.tasks.assets import SUFFIXES, Asset, AssetKind
from mlpeft.tasks.families import FAMILIES

if TYPE_CHECKING:
    from pathlib import Path

    from mlpeft.config import RunConfig

MAX_DEPTH = 4
"""Parts of a path in a manifest, the file's name included."""
_DIGEST = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class OfferedAsset:
    """An asset that a coordinator offers to its workers.

    Attributes:
        name: Its name in the configuration or the family.
        sha256: Of the file's bytes, or of the folder's manifest.
        size_bytes: Of that blob.
        is_folder: Whether the blob is a manifest.
    """

    name: str
    sha256: str
    size_bytes: int
    is_folder: bool = False


@dataclass(frozen=True, slots=True)
class Entry:
    """A file of a folder.

    Attributes:
        path: Within the folder, with slashes.
        size_bytes: Its size.
        sha256: Of its bytes.
    """

    path: str
    size_bytes: int
    sha256: str


def is_digest(text: str) -> bool:
    """Whether a text is a SHA-256 in lower-case hexadecimal."""
    return _DIGEST.fullmatch(text) is not None


def manifest_of(folder: Path, asset: Asset) -> tuple[Entry, ...]:
    """The files of a folder that may be sent, sorted by path.

    Skips hidden files and files of other kinds than the asset's.

    Raises:
        DataError: If no file is left.
    """
    entries = []
    for file in folder.rglob("*"):
        path = file.relative_to(folder).as_posix()
        if file.is_file() and _problem(path, asset) is None:
            entries.append(Entry(path, file.stat().st_size, file_sha256(file)))
    if not entries:
        raise DataError(
            f"{folder} has no files that end in {', '.join(SUFFIXES[asset.kind])}"
        )
    return tuple(sorted(entries, key=lambda entry: entry.path))


def asset_sha256(asset: Asset, path: Path) -> str:
    """The digest of an asset at a path: of a file, or of a folder's manifest."""
    if path.is_dir():
        return hashlib.sha256(encode(manifest_of(path, asset))).hexdigest()
    return file_sha256(path)


def encode(entries: tuple[Entry, ...]) -> bytes:
    """Encode a manifest; equal entries give equal bytes."""
    rows = [[entry.path, entry.size_bytes, entry.sha256] for entry in entries]
    return json.dumps(rows, ensure_ascii=False, separators=(",", ":")).encode()


def decode(data: bytes, asset: Asset) -> tuple[Entry, ...]:
    """Decode and check a manifest from another machine.

    Raises:
        DataError: If it is damaged, or lists a file outside its folder, a hidden file,
            or one of another kind than the asset's.
    """
    try:
        rows = parse_json(data)
        entries = tuple(Entry(*row) for row in rows)
    except (ValueError, TypeError) as error:
        raise DataError(f"the list of files of {asset.name} is damaged") from error
    if not isinstance(rows, list) or not rows:
        raise DataError(f"the list of files of {asset.name} is empty")
    for entry in entries:
        size_ok = isinstance(entry.size_bytes, int) and entry.size_bytes >= 0
        digest_ok = isinstance(entry.sha256, str) and is_digest(entry.sha256)
        problem = _problem(entry.path, asset) if isinstance(entry.path, str) else "type"
        if problem or not size_ok or not digest_ok:
            raise DataError(
                f"refused {entry.path!r}, which the coordinator lists as a file of "
                f"{asset.name}: invalid {problem or 'size or digest'}"
            )
    return entries


def _problem(path: str, asset: Asset) -> str | None:
    """What is invalid about a file of an asset, or None."""
    parts = path.split("/")
    if len(parts) > MAX_DEPTH:
        return "depth"
    if any(not part or part.startswith(".") or "\\" in part for part in parts):
        return "path"
    if not path.isprintable() or not path.lower().endswith(SUFFIXES[asset.kind]):
        return "name"
    return None


def assets_of(config: RunConfig) -> tuple[Asset, ...]:
    """The assets that a configuration names, without duplicates."""
    section = config.task_distribution
    assets = [
        asset
        for name in section.task_families
        if name in FAMILIES
        for asset in FAMILIES[name].assets(section.task_params)
    ]
    if config.model.weights is not None:
        assets.append(Asset(config.model.weights, AssetKind.MODEL))
    return tuple(dict.fromkeys(assets))
