"""Compiles C into a library of this process, and keeps it for the next one.

The platform's C compiler does it: that of a Linux distribution (MLX calls its g++,
too), on a Mac that of Apple's command line tools. Libraries are kept in a folder for
their owner only, under the digest of everything that decides them (C, flags, compiler,
processor) and the digest of their own bytes: what was damaged is made again, and what
another user could have put there is never loaded. The folder keeps a bounded number of
them, and of bytes.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import hashlib
import logging
import os
import platform as python_platform
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Final, NamedTuple

from mlpeft.files import make_private_folders, write_atomically
from mlpeft.fused.graph import CompilerFailed
from mlpeft.platform.compile_cache import check_usable
from mlpeft.platform.kernel_flags import kernel_key
from mlpeft.platform.machine import cache_folder

VARIABLE: Final = "MLPEFT_CC"
"""The C compiler to use; `none`: act as if there were none."""

FLAGS: Final = (
    "-std=gnu11",
    "-O3",
    "-march=native",
    "-ffp-contract=off",
    "-fno-math-errno",
    "-fno-trapping-math",
    "-pthread",
    "-shared",
    "-fPIC",
    "-w",
)
"""GCC's and clang's. No sum is reordered and no product contracted; the C says where
one rounding is meant."""

X86_FLAGS: Final = ("-mprefer-vector-width=512",)
_COMPILERS: Final = ("cc", "gcc", "clang")
_TIMEOUT_S: Final = 120
_PROBE_S: Final = 20
_MOST_KEPT: Final = 400
"""Libraries in the cache, beyond which those used longest ago go."""
_MOST_BYTES: Final = 256 << 20
"""Of all of them together; likewise. One of a small network has some 50 KiB."""
_LEFT_S: Final = 3600.0
"""Age of a temporary file whose process was killed, no doubt."""

log = logging.getLogger("mlpeft.compute")


class Compiler(NamedTuple):
    """A C compiler.

    Attributes:
        path: Its program.
        version: The first line of what it says of itself.
    """

    path: str
    version: str


class NoCompiler(NamedTuple):
    """Why there is none.

    Attributes:
        reason: With what to do about it.
    """

    reason: str


def find_compiler() -> Compiler | NoCompiler:
    """The C compiler of this machine."""
    return _find(os.environ.get(VARIABLE, ""), os.environ.get("PATH", os.defpath))


@functools.cache
def _find(named: str, path: str) -> Compiler | NoCompiler:
    if named == "none":
        return NoCompiler(f"{VARIABLE}=none says so; unset it")
    names = (named,) if named else _COMPILERS
    if sys.platform == "darwin" and not named and not _has_command_line_tools():
        # Without them /usr/bin/cc opens a window that offers to install them.
        return NoCompiler("there is no C compiler; run xcode-select --install")
    for name in names:
        program = shutil.which(name, path=path)
        version = None if program is None else _version(program)
        if program is not None and version is not None:
            return Compiler(program, version)
    if named:
        return NoCompiler(f"{VARIABLE}={named} is no C compiler; unset it")
    return NoCompiler("there is no C compiler; install gcc or clang")


def _has_command_line_tools() -> bool:
    done = _run(["/usr/bin/xcode-select", "-p"], _PROBE_S)
    return done is not None and done.returncode == 0


def _version(program: str) -> str | None:
    done = _run([program, "--version"], _PROBE_S)
    if done is None or done.returncode != 0 or not done.stdout.strip():
        return None
    return done.stdout.decode(errors="replace").splitlines()[0].strip()


def load(text: str) -> ctypes.CDLL:
    """The library of some C, from the cache or compiled now.

    Raises:
        CompilerFailed: If there is no compiler, or it fails.
    """
    compiler = find_compiler()
    if isinstance(compiler, NoCompiler):
        raise CompilerFailed(compiler.reason)
    flags = FLAGS + X86_FLAGS * (python_platform.machine() in {"x86_64", "AMD64"})
    parts = [text, *flags, *compiler, kernel_key()]
    key = hashlib.sha256("\0".join(parts).encode()).hexdigest()[:24]
    folder = _folder()
    library = _cached(folder, key)
    if library is not None:
        return library
    content = _compiled(compiler, flags, text)
    path = folder / f"{key}-{_digest(content)}.so"
    try:
        write_atomically(path, content, mode=0o700)
        library = ctypes.CDLL(str(path))  # from here on it may be removed
    except OSError as error:
        raise CompilerFailed(f"{path.name} cannot be used ({error})") from error
    with contextlib.suppress(OSError):
        _prune(folder)
    return library


def _folder() -> Path:
    """The cache; where it cannot be used a folder of this process."""
    folder = cache_folder() / "fused"
    try:
        make_private_folders(folder)
        status = folder.stat()
        if status.st_uid != os.getuid():
            raise PermissionError(f"{folder} belongs to another user")
        if status.st_mode & 0o077:
            folder.chmod(0o700)
        if not os.access(folder, os.W_OK | os.X_OK):
            raise PermissionError(f"{folder} is not writable")
        if sys.platform.startswith("linux"):
            check_usable(folder)
    except OSError:
        return _own_folder()
    return folder


@functools.cache
def _own_folder() -> Path:
    """A private folder that goes when this process ends."""
    keeper = tempfile.TemporaryDirectory(prefix="mlpeft-fused-")
    _KEEPERS.append(keeper)
    return Path(keeper.name)


_KEEPERS: list[tempfile.TemporaryDirectory[str]] = []


def _cached(folder: Path, key: str) -> ctypes.CDLL | None:
    """The library with a key, if it is whole; damaged ones are removed."""
    for path in folder.glob(f"{key}-*.so"):
        try:
            status = path.lstat()
            content = path.read_bytes()
            own = status.st_uid == os.getuid() and not path.is_symlink()
            if own and path.name == f"{key}-{_digest(content)}.so":
                os.utime(path)
                return ctypes.CDLL(str(path))
        except OSError:
            pass
        log.info("%s in the cache of compiled code is damaged: made again", path.name)
        path.unlink(missing_ok=True)
    return None


def _prune(folder: Path) -> None:
    """Remove the libraries that were used longest ago, and what killed processes left.

    Other processes use the folder and prune it, too: a file may go at any moment, and
    one that is removed here stays with those that have loaded it.
    """
    found = []
    for path in folder.iterdir():
        with contextlib.suppress(FileNotFoundError):
            status = path.lstat()
            if path.suffix == ".so":
                found.append((status.st_mtime, status.st_size, path))
            elif path.suffix == ".tmp" and status.st_mtime < time.time() - _LEFT_S:
                path.unlink()
    total_bytes = 0
    for number, (_, size_bytes, path) in enumerate(sorted(found, reverse=True)):
        total_bytes += size_bytes
        if number >= _MOST_KEPT or (number and total_bytes > _MOST_BYTES):
            path.unlink(missing_ok=True)


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:24]


def _compiled(compiler: Compiler, flags: tuple[str, ...], text: str) -> bytes:
    """The bytes of the library."""
    with tempfile.TemporaryDirectory(prefix="mlpeft-cc-") as folder:
        source, library = Path(folder, "fused.c"), Path(folder, "fused.so")
        source.write_text(text, encoding="utf-8")
        command = [compiler.path, *flags, str(source), "-o", str(library), "-lm"]
        done = _run(command, _TIMEOUT_S)
        if done is None:
            raise CompilerFailed(f"{compiler.path} did not end within {_TIMEOUT_S} s")
        if done.returncode != 0 or not library.is_file():
            said = done.stderr.decode(errors="replace").strip().splitlines()
            raise CompilerFailed(
                f"{compiler.path} fails ({said[0] if said else 'silent'})"
            )
        return library.read_bytes()


def _run(
    command: list[str], timeout_s: float
) -> subprocess.CompletedProcess[bytes] | None:
    """Run a command; None if it cannot be run or takes too long.

    In a session of its own, so that Ctrl-C in a terminal does not end it.
    """
    try:
        return subprocess.run(  # noqa: S603 - the platform's compiler
            command,
            capture_output=True,
            timeout=timeout_s,
            check=False,
            start_new_session=True,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
