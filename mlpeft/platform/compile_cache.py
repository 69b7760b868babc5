"""The cache of the kernels that MLX compiles on Linux, and notices about compiling."""

from __future__ import annotations

import atexit
import contextlib
import errno
import fcntl
import functools
import itertools
import logging
import os
import shutil
import struct
import sys
import tempfile
import threading
import time
import warnings
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final

from mlpeft.files import make_private_folders
from mlpeft.platform.home import expanded
from mlpeft.platform.kernel_flags import add_kernel_flags, kernel_key, real_compiler

if TYPE_CHECKING:
    from collections.abc import Iterator

LOCK_NAME: Final = "in-use.lock"

SETTLED_S: Final = 2.0
"""Seconds since its last change after which a library counts as written."""

TRIAL_BYTES: Final = 2**20
"""More than a kernel with its source takes."""

_ELF_MAGIC: Final = b"\x7fELF"
_ELF64_HEADER_BYTES: Final = 64


class KernelWarning(UserWarning):
    """MLX compiles no kernels here."""


@functools.cache
def private_compile_cache() -> Path | None:
    """Move MLX's kernels to a private slot, once per process.

    Sets TMPDIR, which MLX reads whenever it compiles a kernel; Python's own temporary
    files stay where they were. If the cache folder cannot be used, the slot is a new
    temporary folder, removed at exit. Kernels are compiled for this processor.

    Returns:
        The slot; None if none is needed (macOS) or none can be used.

    Warns:
        KernelWarning: If none can be used; MLX then compiles nothing.
    """
    if not sys.platform.startswith("linux"):
        return None
    with contextlib.suppress(FileNotFoundError):  # said by _temporary_slot
        tempfile.tempdir = tempfile.gettempdir()
    problems = []
    for take in (_cached_slot, _temporary_slot):
        try:
            slot = take()
        except OSError as error:
            problems.append(f"{error.filename or ''}: {error.strerror or error}")
            continue
        os.environ["TMPDIR"] = str(slot)
        add_kernel_flags(slot)
        return slot
    os.environ["MLX_DISABLE_COMPILE"] = "1"  # MLX reads it when it is imported
    warnings.warn(
        f"no folder for compiled kernels ({'; '.join(problems).lstrip(': ')}), so MLX "
        "runs operation by operation, which is slower; let XDG_CACHE_HOME or TMPDIR "
        "name a folder that you may write, with space, where programs may run",
        KernelWarning,
        stacklevel=2,
    )
    return None


def _cached_slot() -> Path:
    """A slot in the user's cache.

    Raises:
        OSError: If it cannot be used.
    """
    slot, lock = take_slot(_cache_root() / kernel_key())
    try:
        check_usable(slot)
    except OSError:
        lock.close()
        raise
    atexit.register(lock.close)  # keeps the file, and so the lock, to the end
    return slot


def _temporary_slot() -> Path:
    """A folder for this process alone.

    Raises:
        OSError: If it cannot be used.
    """
    slot = Path(tempfile.mkdtemp(prefix="mlpeft-compile-"))
    atexit.register(shutil.rmtree, slot, ignore_errors=True)
    check_usable(slot)
    return slot


def check_usable(folder: Path) -> None:
    """Check that libraries can be written to a folder and loaded from it.

    Raises:
        OSError: If its disk is full or does not let programs run.
    """
    if os.statvfs(folder).f_flag & os.ST_NOEXEC:
        raise PermissionError(errno.EACCES, "mounted noexec", str(folder))
    trial = folder / f".trial.{os.getpid()}"
    try:
        trial.write_bytes(bytes(TRIAL_BYTES))
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(folder)) from error
    finally:
        trial.unlink(missing_ok=True)


def compiler_for_compile() -> str | None:
    """The C++ compiler of `mx.compile` on a Linux CPU; None if there is none.

    Without one MLX runs compiled functions operation by operation, which is slower.
    """
    return real_compiler()


def take_slot(root: Path) -> tuple[Path, IO[bytes]]:
    """Take the first free slot in a folder.

    Broken libraries are removed from it, and those of the other slots are linked.

    Args:
        root: Created if missing; its slots are the folders 0, 1, ...

    Returns:
        The slot, and the open lock file that reserves it until it is closed.

    Raises:
        OSError: If the folder cannot be created, written or locked, or belongs to
            another user.
    """
    make_private_folders(root)
    if root.stat().st_uid != os.getuid():
        raise PermissionError(f"{root} belongs to another user")
    for number in itertools.count():
        slot = root / str(number)
        slot.mkdir(mode=0o700, exist_ok=True)
        lock = (slot / LOCK_NAME).open("ab")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.close()
            continue
        except OSError:
            lock.close()
            raise
        remove_broken_libraries(slot / "mlx")
        share_libraries(root, slot)
        return slot, lock
    raise AssertionError("unreachable: count() does not end")


def remove_broken_libraries(folder: Path) -> list[Path]:
    """Remove incomplete shared libraries, so that MLX compiles them again.

    Returns:
        The removed files.
    """
    broken = [path for path in folder.rglob("*.so") if not is_whole_library(path)]
    for path in broken:
        path.unlink(missing_ok=True)
    return broken


def share_libraries(root: Path, slot: Path) -> None:
    """Link the libraries of other slots into one that lacks them.

    Compiling a kernel takes g++ a second or more, and a second worker on a machine
    needs those of the first. A library that was modified just now is skipped: it may be
    incomplete, whatever its header says.
    """
    settled = time.time() - SETTLED_S
    for library in root.glob("*/mlx/**/*.so"):
        other = root / library.relative_to(root).parts[0]
        mine = slot / library.relative_to(other)
        with contextlib.suppress(OSError):  # gone meanwhile, or no links on this disk
            if mine.exists() or library.stat().st_mtime > settled:
                continue
            if is_whole_library(library):
                mine.parent.mkdir(parents=True, exist_ok=True)
                mine.hardlink_to(library)


def is_whole_library(path: Path) -> bool:
    """Whether a file is an ELF library with the length in its header.

    A linker writes the section table last, and the header says where it ends.
    """
    with path.open("rb") as file:
        header = file.read(_ELF64_HEADER_BYTES)
        size = os.fstat(file.fileno()).st_size
    if len(header) < _ELF64_HEADER_BYTES or not header.startswith(_ELF_MAGIC):
        return False
    table_offset: int = struct.unpack_from("<Q", header, 0x28)[0]
    entry_bytes: int
    entries: int
    entry_bytes, entries = struct.unpack_from("<HH", header, 0x3A)
    return table_offset > 0 and table_offset + entry_bytes * entries <= size


def _cache_root() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return expanded(base) / "mlpeft" / "kernels"


log = logging.getLogger("mlpeft.compute")

AFTER_S = 2.0
"""Seconds of silence before a notice."""
AGAIN_S = 10.0


@contextmanager
def compile_notice() -> Iterator[None]:
    """While the body runs, log now and then that kernels are being compiled."""
    folder = private_compile_cache()
    if folder is None:  # macOS: Metal compiles quickly
        yield
        return
    done = threading.Event()
    watcher = threading.Thread(
        target=_watch, args=(folder, done), name="mlpeft-compile-notice", daemon=True
    )
    watcher.start()
    try:
        yield
    finally:
        done.set()
        watcher.join()


def _watch(folder: Path, done: threading.Event) -> None:
    told = _kernels(folder)
    before = told
    wait_s = AFTER_S
    while not done.wait(wait_s):
        now = _kernels(folder)
        if now > told:
            log.info(
                "compiling kernels for this model, once per machine: %d so far",
                now - before,
            )
            told, wait_s = now, AGAIN_S


def _kernels(folder: Path) -> int:
    """Kernels whose compilation has at least begun."""
    return sum(1 for _ in folder.glob("mlx/**/*.cpp"))
