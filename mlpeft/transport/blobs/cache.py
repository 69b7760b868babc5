"""The worker's cache of blobs: one folder, shared by all workers of a machine.

    blobs/DIGEST            whole; its time of access is that of its last use
    blobs/DIGEST.part       on its way; whoever writes it holds a lock on it
    folders/DIGEST/...      links that give blobs the names they are looked for by
    in-use/PID-RANDOM       digests that a living process uses; it holds a lock on it
    lock                    held while blobs are counted, claimed or removed

Locks are the system's own (flock): they end with the process that holds them, so that
nothing has to be cleared up after a kill. A blob is renamed into place once its digest
is right, and checked again before each run.
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
from mlpeft.files import file_sha256, size_text
from mlpeft.transport.blobs.incoming import Incoming

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

PART = ".part"
SPARE_BYTES = 64 << 20
"""Room that is left on the disk."""
_FULL = {errno.ENOSPC, errno.EDQUOT}


class CacheFullError(DataError):
    """There is no room for what is to be fetched."""


@dataclass(frozen=True, slots=True)
class CachedBlob:
    """A blob of the cache.

    Attributes:
        sha256: Its digest.
        name: The file that it is, as far as that is known.
        size: Bytes of it that are there.
        used_at: When it was used last, in seconds since 1970.
        whole: Whether all of it is there.
        in_use: Whether a living process keeps it.
    """

    sha256: str
    name: str
    size: int
    used_at: float
    whole: bool
    in_use: bool


class BlobCache:
    """Blobs on disk, the least recently used of which make room for new ones.

    Args:
        folder: Made if it is not there.
        limit_bytes: How large all blobs together may be.

    Raises:
        DataError: If the folder cannot be made, or is another user's.
    """

    def __init__(self, folder: Path, limit_bytes: int) -> None:
        self.folder = folder
        self.limit_bytes = limit_bytes
        self._blobs = folder / "blobs"
        self._folders = folder / "folders"
        self._in_use = folder / "in-use"
        self._claim: IO[str] | None = None
        try:
            for made in (folder, self._blobs, self._folders, self._in_use):
                made.mkdir(mode=0o700, parents=True, exist_ok=True)
            stranger = folder.stat().st_uid != os.getuid()
        except OSError as error:
            raise DataError(
                f"the cache {folder} cannot be used: {error}; name another folder "
                "with MLPEFT_CACHE_DIR"
            ) from error
        if stranger:
            raise DataError(
                f"the cache {folder} belongs to another user; name a folder of your "
                "own with MLPEFT_CACHE_DIR"
            )

    # --- what is there ----------------------------------------------------------------

    def get(self, sha256: str) -> Path | None:
        """The blob of this digest, if it is there and whole; one that is not goes."""
        path = self._blobs / sha256
        try:
            if file_sha256(path) == sha256:
                # Access marks the use; file_sha256 goes by the time of change.
                os.utime(path, ns=(time.time_ns(), path.stat().st_mtime_ns))
                return path
            path.unlink()
        except FileNotFoundError:
            pass
        return None

    def claim(self, sizes: Mapping[str, int]) -> None:
        """Have these blobs kept while this process lives, and room for those that lack.

        Claims of this process before it end.

        Args:
            sizes: Bytes of each blob by digest.

        Raises:
            CacheFullError: If they do not fit, though nothing is left that can go.
        """
        with self._locked():
            self.release()
            path = self._in_use / f"{os.getpid()}-{uuid.uuid4().hex}"
            # Open as long as the claim holds.
            self._claim = path.open("w", encoding="ascii")
            fcntl.flock(self._claim, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._claim.write("\n".join(sizes))
            self._claim.flush()
            self._make_room(sum(self._missing(*item) for item in sizes.items()))

    def release(self) -> None:
        """Claim nothing any more."""
        if self._claim is not None:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self._claim.name)  # noqa: PTH108 - the name is a string
            self._claim.close()
            self._claim = None

    def held(self) -> list[CachedBlob]:
        """All blobs, those used last in front."""
        names: dict[str, str] = {}
        for link in sorted(self._folders.glob("*/**/*")):
            if link.is_symlink():
                names.setdefault(link.readlink().name, link.name)
        found = []
        with self._locked():
            claimed = self._claimed()
            for path in self._blobs.iterdir():
                sha256 = path.name.removesuffix(PART)
                status = path.stat()
                found.append(
                    CachedBlob(
                        sha256,
                        names.get(sha256, ""),
                        status.st_size,
                        status.st_atime,
                        whole=path.suffix != PART,
                        in_use=sha256 in claimed,
                    )
                )
        return sorted(found, key=lambda one: (-one.used_at, one.sha256))

    def clear(self) -> int:
        """Remove the blobs that no process uses; how many bytes they were."""
        freed = 0
        with self._locked():
            kept = self._claimed()
            for path in self._blobs.iterdir():
                if path.name.removesuffix(PART) not in kept:
                    freed += path.stat().st_size
                    path.unlink()
            for folder in self._folders.iterdir():
                links = [link for link in folder.glob("**/*") if link.is_symlink()]
                if not any(link.exists() for link in links):
                    shutil.rmtree(folder)
        return freed

    # --- what comes -------------------------------------------------------------------

    @contextlib.contextmanager
    def receive(self, sha256: str) -> Iterator[Incoming | None]:
        """The blob as it comes in; None if another process is at it, or done."""
        part = self._blobs / (sha256 + PART)
        with self._room_kept(), part.open("ab+") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield None
                return
            target = self._blobs / sha256
            if not _is_at(file, part):  # renamed by its writer before we had the lock
                yield None
            elif target.exists():  # likewise, but before we opened it: this one is new
                part.unlink()
                yield None
            else:
                yield Incoming(file, part, target)

    def folder_of(self, sha256: str, files: Mapping[str, Path]) -> Path:
        """A folder in which files have the names that they are looked for by.

        Args:
            sha256: Names the folder: the asset's digest.
            files: Where each file is, by its path inside the folder.
        """
        folder = self._folders / sha256
        for name, target in files.items():
            link = folder / name
            if link.is_symlink() and link.readlink() == target:
                continue
            link.parent.mkdir(parents=True, exist_ok=True)
            # Renamed into place: another worker may be reading through the old one.
            temporary = link.with_name(f".{link.name}.{uuid.uuid4().hex}")
            temporary.symlink_to(target)
            temporary.replace(link)
        return folder

    # --- room -------------------------------------------------------------------------

    def _missing(self, sha256: str, size: int) -> int:
        """Bytes of a blob that are still to come."""
        for name, whole in ((sha256, True), (sha256 + PART, False)):
            with contextlib.suppress(FileNotFoundError):
                there = (self._blobs / name).stat().st_size
                return 0 if whole else max(0, size - there)
        return size

    def _make_room(self, needed: int) -> None:
        """Remove what was used least recently, as far as nobody uses it."""
        if needed == 0:
            return
        kept = self._claimed()
        there = []
        for path in self._blobs.iterdir():
            with contextlib.suppress(FileNotFoundError):
                there.append((path.stat(), path))
        there.sort(key=lambda found: found[0].st_atime_ns)
        used = sum(status.st_size for status, _ in there)
        free = shutil.disk_usage(self.folder).free - SPARE_BYTES
        for status, path in there:
            if used + needed <= self.limit_bytes and needed <= free:
                return
            if path.name.removesuffix(PART) not in kept:
                path.unlink(missing_ok=True)
                used -= status.st_size
                free += status.st_size
        if used + needed > self.limit_bytes:
            raise CacheFullError(
                f"the run's files need {size_text(needed)} more, and the cache "
                f"{self.folder} may hold {size_text(self.limit_bytes)}, of which "
                f"workers of this machine use {size_text(used)}; raise the limit with "
                "--cache-gb or MLPEFT_CACHE_GB"
            )
        if needed > free:
            raise self._disk_full(f"{size_text(needed)} are needed")

    def _claimed(self) -> set[str]:
        """Digests that living processes use; claims of dead ones go."""
        found: set[str] = set()
        for path in self._in_use.iterdir():
            try:
                with path.open(encoding="ascii") as file:
                    if _is_free(file):
                        path.unlink(missing_ok=True)
                    else:
                        found.update(file.read().split())
            except FileNotFoundError:
                continue
        return found

    @contextlib.contextmanager
    def _room_kept(self) -> Iterator[None]:
        """Say what to do when the disk is full after all."""
        try:
            yield
        except OSError as error:
            if error.errno not in _FULL:
                raise
            raise self._disk_full(str(error)) from error

    def _disk_full(self, what: str) -> CacheFullError:
        free = shutil.disk_usage(self.folder).free
        return CacheFullError(
            f"the disk of the cache {self.folder} has {size_text(free)} free: {what}. "
            "Free some, or name a folder on another disk with MLPEFT_CACHE_DIR; what "
            "was fetched is kept and goes on from there"
        )

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        with (self.folder / "lock").open("ab") as file:
            fcntl.flock(file, fcntl.LOCK_EX)  # held for milliseconds at a time
            yield


def _is_at(file: IO[str] | IO[bytes], path: Path) -> bool:
    """Whether an open file is the one of this path, and not one that was renamed."""
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
