"""Vectorised kernels for `mx.compile` on a Linux CPU.

MLX calls g++ for its fused kernels with `-O3` for the oldest processor of the
architecture, and accepts no flags. There a square root stays a call because it might
set errno, and a maximum stays a branch, so an Adam step or a ReLU runs at a quarter to
a thirtieth of the speed of the same code compiled for this processor. MLX finds g++ on
PATH; a script of that name, first on this process's PATH, adds the flags and calls the
real one.

It also keeps Ctrl-C and the like from the compiler, which a terminal sends to all
processes in front of it: MLX would end with an error where we end in order.

The flags change speed, not bits: no product and sum is contracted into one rounding, no
sum is reordered, NaN and infinity keep their meaning.
"""

from __future__ import annotations

import functools
import hashlib
import os
import platform
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

VARIABLE: Final = "MLPEFT_KERNEL_FLAGS"
"""Flags to use instead; `none` adds no flags."""

FLAGS: Final = (
    "-march=native",
    "-ffp-contract=off",
    "-fno-math-errno",
    "-fno-trapping-math",
)
"""Clang and GCC know them all, on x86-64 and, in their newer releases, on arm64."""

_FOLDER: Final = "mlpeft-compiler"
_CHECK_S: Final = 30
_SCRIPT: Final = """#!/bin/sh
trap '' HUP INT TERM
exec {compiler} "$@" {flags}
"""


def kernel_flags() -> tuple[str, ...]:
    """The flags to add: `FLAGS`, or those of MLPEFT_KERNEL_FLAGS."""
    named = os.environ.get(VARIABLE)
    if named is None:
        return FLAGS
    return () if named == "none" else tuple(shlex.split(named))


@functools.cache
def kernel_key() -> str:
    """A cache key for processor, compiler and flags.

    Machines may share a cache folder (a home on a file server), and it may outlive a
    compiler; a library for one processor can crash on another.
    """
    parts = [platform.machine(), real_compiler() or "", *kernel_flags()]
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    parts += [
        next((line for line in lines if line.startswith(start)), "")
        for start in ("model name", "flags", "CPU part", "Features")
    ]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:12]


def real_compiler() -> str | None:
    """The g++ on PATH that is not our script, which a child process inherits."""
    return shutil.which("g++", path=os.pathsep.join(_other_folders()))


def add_kernel_flags(folder: Path) -> bool:
    """Put a g++ that adds the flags first on PATH.

    Args:
        folder: A private folder for the script.

    Returns:
        Whether kernels are compiled with the flags from now on. If not, because there
        is no g++ or it rejects them, kernels are slower with the same results.
    """
    compiler, flags = real_compiler(), kernel_flags()
    if not sys.platform.startswith("linux") or compiler is None or not flags:
        return False
    script = folder / _FOLDER / "g++"
    text = _SCRIPT.format(compiler=shlex.quote(compiler), flags=shlex.join(flags))
    if not (script.is_file() and script.read_text(encoding="utf-8") == text):
        if not _accepts(compiler, flags):
            return False
        script.parent.mkdir(mode=0o700, exist_ok=True)
        script.write_text(text, encoding="utf-8")
        script.chmod(0o700)
    os.environ["PATH"] = os.pathsep.join([str(script.parent), *_other_folders()])
    return True


def _other_folders() -> list[str]:
    """The folders of PATH without ours."""
    folders = os.environ.get("PATH", os.defpath).split(os.pathsep)
    return [folder for folder in folders if Path(folder).name != _FOLDER]


def _accepts(compiler: str, flags: tuple[str, ...]) -> bool:
    """Whether a compiler compiles an empty program with these flags."""
    command = [compiler, *flags, "-x", "c++", "-fsyntax-only", os.devnull]
    try:
        done = subprocess.run(  # noqa: S603 - the compiler that MLX would call
            command, capture_output=True, timeout=_CHECK_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0
