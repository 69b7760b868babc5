"""This machine's processor, memory, cache folder, and MLX's device."""

from __future__ import annotations

import ctypes
import os
import platform
import resource
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, TypeAlias

from mlpeft.platform.home import expanded

CGROUP_LIMIT: Final = Path("/sys/fs/cgroup/memory.max")


@dataclass(frozen=True, slots=True)
class Machine:
    """A description of this machine.

    Attributes:
        system: Operating system, its release and the architecture.
        device: MLX's default device and its name.
        metal: Whether MLX can use Metal.
        explanation: The consequence if it cannot; else empty.
        cores: Processor cores that this process may use.
        memory_bytes: Memory of the machine or of its container.
    """

    system: str
    device: str
    metal: bool
    explanation: str
    cores: int
    memory_bytes: int


def describe_machine() -> Machine:
    """Describe this machine. Imports mlx."""
    import mlx.core as mx

    metal = mx.metal.is_available()
    device = mx.default_device()
    name = mx.device_info(device).get("device_name", "unknown processor")
    return Machine(
        system=f"{platform.system()} {platform.release()} {platform.machine()}",
        device=f"{device.type.name} ({name})",
        metal=metal,
        explanation="" if metal else "Metal not available: running on the CPU backend",
        cores=usable_cores(),
        memory_bytes=total_memory_bytes(),
    )


def source_commit() -> str | None:
    """The commit of mlpeft's checkout, "+" if it was changed; None: none is known."""
    folder = Path(__file__).resolve().parents[2]
    if not (folder / ".git").exists():
        return None
    git = ["git", "-C", str(folder)]
    try:
        commit, changes = (
            subprocess.run(  # noqa: S603 - our own command
                [*git, *words], capture_output=True, text=True, timeout=5, check=True
            ).stdout.strip()
            for words in (
                ["rev-parse", "--short=12", "HEAD"],
                ["status", "--porcelain", "--untracked-files=no"],
            )
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return commit + "+" * bool(changes)


def usable_cores() -> int:
    """Processor cores that this process may use."""
    if sys.platform.startswith("linux"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def total_memory_bytes() -> int:
    """Memory of the machine, or of its container if that has less."""
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    try:
        limit = CGROUP_LIMIT.read_text(encoding="ascii").strip()
    except OSError:
        return total
    return min(total, int(limit)) if limit.isdigit() else total


def available_memory_bytes() -> int | None:
    """Memory available without swapping; None if unknown (macOS)."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    for line in lines:
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return None


def peak_memory_bytes() -> int:
    """The peak resident memory of this process."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


BaseDtype: TypeAlias = Literal["stored", "float32", "bfloat16"]


@dataclass(frozen=True, slots=True)
class BaseChoice:
    """The dtype of a base, and the reason.

    Attributes:
        dtype: "stored": that of the files, with their quantisation; "float32":
            dequantised.
        reason: The reason, for people.
    """

    dtype: BaseDtype
    reason: str


def best_base_dtype() -> BaseChoice:
    """The value of `model.base_dtype: auto` on this machine. Imports mlx.

    Measured on Linux: a step through a 4-bit base takes some 20 times as long as
    through the same base in float32 (MLX 0.32, CPU), and bfloat16 is emulated there.
    """
    import mlx.core as mx

    if mx.default_device().type == mx.DeviceType.gpu:
        return BaseChoice("stored", "quantised weights stay quantised on this GPU")
    return BaseChoice(
        "float32", "quantised weights are dequantised, as they are slow on a CPU"
    )


# <malloc.h>: parameters of mallopt.
_TRIM_THRESHOLD: Final = -1
_TOP_PAD: Final = -2
_MMAP_THRESHOLD: Final = -3
_ARENA_MAX: Final = -8

KEPT_BYTES: Final = 256 * 2**20
"""Freed memory that is not returned to the system."""

_LARGEST_MMAP_THRESHOLD: Final = 32 * 2**20
_PAD_BYTES: Final = 2**20


def keep_freed_memory() -> bool:
    """Make glibc keep up to `KEPT_BYTES` of freed memory.

    Returns:
        Whether it does: False on macOS and with other C libraries.
    """
    return _set(
        {
            _TRIM_THRESHOLD: KEPT_BYTES,
            _TOP_PAD: _PAD_BYTES,
            _MMAP_THRESHOLD: _LARGEST_MMAP_THRESHOLD,
        }
    )


def share_freed_memory() -> bool:
    """Make glibc keep freed memory in one place for all threads; call it before them.

    Else each of gRPC's threads has a place of its own, and what one has freed no other
    can use: 159 MiB in a coordinator of 8 workers and 100 MB, in place of 76.

    Returns:
        Whether it does: False on macOS and with other C libraries.
    """
    return _set({_ARENA_MAX: 1})


def _set(settings: dict[int, int]) -> bool:
    """Set parameters of glibc's allocator; whether that could be done."""
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    return mallopt is not None and all(
        mallopt(name, value) == 1 for name, value in settings.items()
    )


def cache_folder() -> Path:
    """The cache folder: `~/.cache/mlpeft`, on macOS `~/Library/Caches/mlpeft`.

    MLPEFT_CACHE_DIR overrides it, and XDG_CACHE_HOME moves it, on both.
    """
    variable = os.environ.get("MLPEFT_CACHE_DIR")
    if variable:
        return expanded(variable)
    base = os.environ.get("XDG_CACHE_HOME")
    if not base:
        base = "~/Library/Caches" if sys.platform == "darwin" else "~/.cache"
    return expanded(base) / "mlpeft"
