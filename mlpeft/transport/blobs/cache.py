"""The worker's cache of blobs: one folder, shared by all workers of a machine.

    blobs/DIGEST            complete; its access time is that of its last use
    blobs/DIGEST.part       partial; its writer holds a lock on it
    folders/DIGEST/...      links to blobs under the names that users look for
    in-use/PID-RANDOM       digests that a live process uses; it holds a lock on it
    lock                    held while blobs are counted, claimed or removed

The system releases locks (flock) when their process dies, so a kill needs no cleanup. A
blob is renamed into place once its digest is right, and checked again before each run.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import shutil
import time
import uuid
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING

from mlpeft.errors import DataError
from mlpeft.files import file_sha256, make_private_folders, size_text
from mlpeft.transport.blobs.incoming import Incoming

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

PART = ".part"
SPARE_BYTES = 64 << 20
"""Bytes to leave free on the disk."""
_DISK_FULL = {errno.ENOSPC, errno.EDQUOT}


class CacheFullError(DataError):
    """The cache or its disk has no room for a run's files."""


@dataclass(frozen=True, slots=True)
class CachedBlob:
    """A blob of the cache.

    Attributes:
        sha256: Its digest.
        name: Its file name; "" if unknown.
        size: Its bytes in the cache.
        used_at: Unix time of its last use.
        whole: Whether it is complete.
        in_use: Whether a live process uses it.
    """

    sha256: str
    name: str
    size: int
    used_at: float
    whole: bool
    in_use: bool


class BlobCache:
    """Blobs on disk; evicts the least recently used ones.

    Args:
        folder: The folder; created if missing.
        limit_bytes: Limit on the size of all blobs together.

    Raises:
        DataError: If the folder cannot be created, or is another user's.
    """

    def __init__(self, folder: Path, limit_bytes: int) -> None:
        self.folder = folder
        self.limit_bytes = limit_bytes
        self._blobs = folder / "blobs"
        self._folders = folder / "folders"
        self._in_use = folder / "in-use"
        self._claim: IO[str] | None = None
        try:
            for each in (folder, self._blobs, self._folders, self._in_use):
                make_private_folders(each)
            foreign = folder.stat().st_uid != os.getuid()
        except OSError as error:
            raise DataError(
                f"cannot use the cache {folder}: {error}; set MLPEFT_CACHE_DIR to "
                "another folder"
            ) from error
        if foreign:
            raise DataError(
                f"the cache {folder} belongs to another user; set MLPEFT_CACHE_DIR to "
                "a folder of yours"
            )

    # --- cached blobs -----------------------------------------------------------------

    def get(self, sha256: str) -> Path | None:
        """The path of a blob, or None; removes a damaged blob."""
        path = self._blobs / sha256
        try:
            if file_sha256(path) == sha256:
                # The access time marks the use; file_sha256 caches by the mtime.
                os.utime(path, ns=(time.time_ns(), path.stat().st_mtime_ns))
                return path
            path.unlink()
        except FileNotFoundError:
            pass
        return None

    def claim(self, sizes: Mapping[str, int]) -> None:
        """Keep these blobs while this process lives, and make room for missing ones.

        Replaces the earlier claim of this process.

        Args:
            sizes: Bytes of each blob by digest.

        Raises:
            CacheFullError: If they do not fit after evicting all unused blobs.
        """
        with self._locked():
            self.release()
            path = self._in_use / f"{os.getpid()}-{uuid.uuid4().hex}"
            # Stays open, and locked, as long as the claim holds.
            self._claim = path.open("w", encoding="ascii")
            fcntl.flock(self._claim, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._claim.write("\n".join(sizes))
            self._claim.flush()
            self._make_room(sum(self._missing_bytes(*item) for item in sizes.items()))

    def release(self) -> None:
        """Give up the claim."""
        if self._claim is not None:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self._claim.name)  # noqa: PTH108 - the name is a string
            self._claim.close()
            self._claim = None

    def list_blobs(self) -> list[CachedBlob]:
        """All blobs, most recently used first."""
        names: dict[str, str] = {}
        for link in sorted(self._folders.glob("*/**/*")):
            if link.is_symlink():
                names.setdefault(link.readlink().name, link.name)
        blobs = []
        with self._locked():
            claimed = self._claimed()
            for path in self._blobs.iterdir():
                sha256 = path.name.removesuffix(PART)
                status = path.stat()
                blobs.append(
                    CachedBlob(
                        sha256,
                        names.get(sha256, ""),
                        status.st_size,
                        status.st_atime,
                        whole=path.suffix != PART,
                        in_use=sha256 in claimed,
                    )
                )
        return sorted(blobs, key=lambda blob: (-blob.used_at, blob.sha256))

    def clear(self) -> int:
        """Remove the blobs that no process uses; the freed bytes."""
        freed = 0
        with self._locked():
            claimed = self._claimed()
            for path in self._blobs.iterdir():
                if path.name.removesuffix(PART) not in claimed:
                    freed += path.stat().st_size
                    path.unlink()
            for folder in self._folders.iterdir():
                links = [link for link in folder.glob("**/*") if link.is_symlink()]
                if not any(link.exists() for link in links):
                    shutil.rmtree(folder)
        return freed

    # --- incoming blobs ---------------------------------------------------------------

    @contextlib.contextmanager
    def receive(self, sha256: str) -> Iterator[Incoming | None]:
        """Receive a blob; None if another process receives it or has finished."""
        part = self._blobs / (sha256 + PART)
        with self._explain_disk_full(), part.open("ab+") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield None
                return
            target = self._blobs / sha256
            if not _is_same_file(file, part):  # its writer renamed it before our lock
                yield None
            elif target.exists():  # renamed before our open, which created a new one
                part.unlink()
                yield None
            else:
                yield Incoming(file, part, target)

    def link_folder(self, sha256: str, files: Mapping[str, Path]) -> Path:
        """Create a folder of links that give files their names.

        Args:
            sha256: The folder's name: the asset's digest.
            files: Each file, by its path within the folder.
        """
        folder = self._folders / sha256
        for name, target in files.items():
            link = folder / name
            if link.is_symlink() and link.readlink() == target:
                continue
            link.parent.mkdir(parents=True, exist_ok=True)
            # Replaced atomically: another worker may be reading through the old link.
            temporary = link.with_name(f".{link.name}.{uuid.uuid4().hex}")
            temporary.symlink_to(target)
            temporary.replace(link)
        return folder

    # --- room -------------------------------------------------------------------------

    def _missing_bytes(self, sha256: str, size: int) -> int:
        """Bytes of a blob that are not in the cache."""
        for name, whole in ((sha256, True), (sha256 + PART, False)):
            with contextlib.suppress(FileNotFoundError):
                present = (self._blobs / name).stat().st_size
                return 0 if whole else max(0, size - present)
        return size

    def _make_room(self, needed: int) -> None:
        """Evict the least recently used blobs that no process uses."""
        if needed == 0:
            return
        claimed = self._claimed()
        blobs = []
        for path in self._blobs.iterdir():
            with contextlib.suppress(FileNotFoundError):
                blobs.append((path.stat(), path))
        blobs.sort(key=lambda blob: blob[0].st_atime_ns)
        used = sum(status.st_size for status, _ in blobs)
        free = shutil.disk_usage(self.folder).free - SPARE_BYTES
        for status, path in blobs:
            if used + needed <= self.limit_bytes and needed <= free:
                return
            if path.name.removesuffix(PART) not in claimed:
                path.unlink(missing_ok=True)
                used -= status.st_size
                free += status.st_size
        if used + needed > self.limit_bytes:
            raise CacheFullError(
                f"the run's files need {size_text(needed)} more, but the cache "
                f"{self.folder} may hold {size_text(self.limit_bytes)}, and workers of "
                f"this machine use {size_text(used)}; raise the limit with --cache-gb "
                "or MLPEFT_CACHE_GB"
            )
        if needed > free:
            raise self._disk_full_error(f"{size_text(needed)} are needed")

    def _claimed(self) -> set[str]:
        """Digests that live processes use; removes the claims of dead ones."""
        claimed: set[str] = set()
        for path in self._in_use.iterdir():
            try:
                with path.open(encoding="ascii") as file:
                    if _is_free(file):
                        path.unlink(missing_ok=True)
                    else:
                        claimed.update(file.read().split())
            except FileNotFoundError:
                continue
        return claimed

    @contextlib.contextmanager
    def _explain_disk_full(self) -> Iterator[None]:
        """Turn "disk full" errors into a CacheFullError that says what to do."""
        try:
            yield
        except OSError as error:
            if error.errno not in _DISK_FULL:
                raise
            raise self._disk_full_error(str(error)) from error

    def _disk_full_error(self, reason: str) -> CacheFullError:
        free = shutil.disk_usage(self.folder).free
        return CacheFullError(
            f"the disk of the cache {self.folder} has {size_text(free)} free: "
            f"{reason}. Free some space, or set MLPEFT_CACHE_DIR to a folder on "
            "another disk; the transfer resumes where it stopped"
        )

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        with (self.folder / "lock").open("ab") as file:
            fcntl.flock(file, fcntl.LOCK_EX)  # held for milliseconds only
            yield


def _is_same_file(file: IO[str] | IO[bytes], path: Path) -> bool:
    """Whether the path still leads to an open file."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False


def _is_free(file: IO[str]) -> bool:
    """Whether no process holds the lock on a file."""
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
