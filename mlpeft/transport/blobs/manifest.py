"""What a folder consists of, as text with one digest: the same on every machine."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mlpeft.errors import DataError
from mlpeft.files import file_sha256
from mlpeft.tasks.assets import SUFFIXES, Asset, AssetKind
from mlpeft.tasks.families import FAMILIES

if TYPE_CHECKING:
    from pathlib import Path

    from mlpeft.config import RunConfig

DEEPEST = 4
"""Folders within folders that a manifest may have, the file's name included."""
_DIGEST = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class OfferedAsset:
    """An asset, as a coordinator offers it to its workers.

    Attributes:
        name: As the configuration or the family names it.
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
        path: Inside the folder, with slashes.
        size_bytes: How large it is.
        sha256: Of its bytes.
    """

    path: str
    size_bytes: int
    sha256: str


def is_digest(text: str) -> bool:
    """Whether a text is a SHA-256, as this project writes them."""
    return _DIGEST.fullmatch(text) is not None


def manifest_of(folder: Path, asset: Asset) -> tuple[Entry, ...]:
    """The files of a folder that may travel, in the order of their paths.

    Hidden files are left out, and those of other kinds than the asset's.

    Raises:
        DataError: If there are none.
    """
    found = []
    for place in folder.rglob("*"):
        path = place.relative_to(folder).as_posix()
        if place.is_file() and _problem(path, asset) is None:
            found.append(Entry(path, place.stat().st_size, file_sha256(place)))
    if not found:
        raise DataError(
            f"{folder} has no files that end in {', '.join(SUFFIXES[asset.kind])}"
        )
    return tuple(sorted(found, key=lambda entry: entry.path))


def asset_sha256(asset: Asset, place: Path) -> str:
    """The digest of an asset at a place: of a file, or of a folder's manifest."""
    if place.is_dir():
        return hashlib.sha256(encode(manifest_of(place, asset))).hexdigest()
    return file_sha256(place)


def encode(entries: tuple[Entry, ...]) -> bytes:
    """A manifest as bytes; the same entries are the same bytes."""
    rows = [[entry.path, entry.size_bytes, entry.sha256] for entry in entries]
    return json.dumps(rows, ensure_ascii=False, separators=(",", ":")).encode()


def decode(data: bytes, asset: Asset) -> tuple[Entry, ...]:
    """The entries of a manifest that came from another machine.

    Raises:
        DataError: If it is none, or names a file that may not travel: one outside its
            folder, hidden, or of another kind than the asset's.
    """
    try:
        rows = json.loads(data)
        entries = tuple(Entry(*row) for row in rows)
    except (ValueError, TypeError, RecursionError) as error:
        raise DataError(f"the list of files of {asset.name} is damaged") from error
    if not isinstance(rows, list) or not rows:
        raise DataError(f"the list of files of {asset.name} has none")
    for entry in entries:
        whole = isinstance(entry.size_bytes, int) and entry.size_bytes >= 0
        digest = isinstance(entry.sha256, str) and is_digest(entry.sha256)
        problem = _problem(entry.path, asset) if isinstance(entry.path, str) else "it"
        if problem or not whole or not digest:
            raise DataError(
                f"the coordinator lists {entry.path!r} as a file of {asset.name}; "
                f"refused: {problem or 'size or digest'} is not what it should be"
            )
    return entries


def _problem(path: str, asset: Asset) -> str | None:
    """What keeps a file from being one of an asset's, or None."""
    parts = path.split("/")
    if len(parts) > DEEPEST:
        return "its depth"
    if any(not part or part.startswith(".") or "\\" in part for part in parts):
        return "a part of its path"
    if not path.isprintable() or not path.lower().endswith(SUFFIXES[asset.kind]):
        return "its name"
    return None


def assets_of(config: RunConfig) -> tuple[Asset, ...]:
    """The assets that a configuration names, each once."""
    section = config.task_distribution
    found = [
        asset
        for name in section.task_families
        if name in FAMILIES
        for asset in FAMILIES[name].assets(section.task_params)
    ]
    if config.model.weights is not None:
        found.append(Asset(config.model.weights, AssetKind.MODEL))
    return tuple(dict.fromkeys(found))
