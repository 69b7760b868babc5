"""What this machine is: processor, memory, and the device that MLX computes on."""

from __future__ import annotations

import os
import platform
import resource
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

CGROUP_LIMIT: Final = Path("/sys/fs/cgroup/memory.max")


@dataclass(frozen=True, slots=True)
class Machine:
    """What this machine computes with.

    Attributes:
        system: Operating system, its release and the architecture.
        device: MLX's default device and what it is.
        metal: Whether MLX can use Metal.
        explanation: What it means where it cannot; else empty.
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
    """Look at this machine. Imports mlx."""
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
    """Memory that can still be had without swapping; None where nobody says (macOS)."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    for line in lines:
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return None


def peak_memory_bytes() -> int:
    """The most memory that this process has held at once (resident)."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
