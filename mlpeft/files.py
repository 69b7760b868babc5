"""Atomic writes, digests and sizes of files, and overrides of asset paths."""

from __future__ import annotations

import hashlib
import json
import os
from contextvars import ContextVar
from functools import lru_cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


def write_atomically(path: Path, content: bytes, mode: int = 0o666) -> None:
    """Write a temporary file in the same folder, flush it to disk and rename it.

    Args:
        path: The file; replaced if it exists.
        content: Its bytes.
        mode: Permissions, less the umask. The file never has others, even while it is
            being written.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    temporary.unlink(missing_ok=True)
    try:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
        with os.fdopen(os.open(temporary, flags, mode), "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def make_private_folders(folder: Path) -> None:
    """Create a folder and those above it that are missing, for their owner only.

    `Path.mkdir` gives its mode to the last of them and leaves the others to the umask.
    """
    missing = [each for each in (folder, *folder.parents) if not each.exists()]
    for each in reversed(missing):
        each.mkdir(mode=0o700, exist_ok=True)


def parse_json(content: str | bytes) -> Any:
    """The value of JSON that somebody else wrote.

    Raises:
        ValueError: If it is none, not UTF-8, or nested more deeply than Python reads.
    """
    try:
        return json.loads(content)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def parse_json_object(content: str | bytes) -> dict[str, Any]:
    """As `parse_json`, of an object.

    Raises:
        ValueError: Also if it is another kind of value.
    """
    value = parse_json(content)
    if not isinstance(value, dict):
        kind = type(value).__name__
        raise ValueError(f"expected a JSON object, got a {kind}")  # noqa: TRY004
    return value


def unlink_link(path: Path) -> None:
    """Remove a symbolic link, so that what is written next goes to its own folder.

    Somebody else's folder may hold a link to a file of the user.
    """
    if path.is_symlink():
        path.unlink()


def size_text(size_bytes: float) -> str:
    """A size in readable form: three figures, in powers of ten."""
    for unit in ("B", "kB", "MB", "GB"):
        if size_bytes < 1000:
            decimals = 0 if unit == "B" or size_bytes >= 100 else 1
            return f"{size_bytes:.{decimals}f} {unit}"
        size_bytes /= 1000
    return f"{size_bytes:.1f} TB"


def part_text(done_bytes: float, total_bytes: float) -> str:
    """A part of a number of bytes for people, in one unit: 1.2 of 4.2 MB."""
    whole, unit = size_text(total_bytes).split()
    power = ("B", "kB", "MB", "GB", "TB").index(unit)
    decimals = len(whole.partition(".")[2])
    return f"{done_bytes / 1000**power:.{decimals}f} of {whole} {unit}"


def file_digest(path: Path, algorithm: str = "sha256") -> str:
    """The digest of a file's bytes, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, algorithm).hexdigest()


def file_sha256(path: Path) -> str:
    """SHA-256 of a file's bytes; recomputed only if the file has changed."""
    status = path.stat()
    return _file_sha256(path.absolute(), (status.st_size, status.st_mtime_ns))


@lru_cache(maxsize=64)
def _file_sha256(path: Path, version: tuple[int, int]) -> str:  # noqa: ARG001
    return file_digest(path)


AssetOverrides = tuple[tuple[str, "Path"], ...]
"""(name, path) pairs, sorted, so that they can be the key of a cache."""

_current: ContextVar[AssetOverrides] = ContextVar("asset_overrides", default=())


def override_assets(files: Mapping[str, Path]) -> None:
    """Resolve these names to these paths from now on, in this context.

    Args:
        files: Path of each file or folder, by its name in a configuration or a family;
            replaces earlier overrides.
    """
    _current.set(tuple(sorted(files.items())))


def asset_overrides() -> AssetOverrides:
    """All overrides in this context."""
    return _current.get()


def override_of(name: str) -> Path | None:
    """The path that overrides this file or folder, if there is one."""
    return dict(_current.get()).get(name)
