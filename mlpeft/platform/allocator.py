"""Keeps freed memory for the next inner step (Linux with glibc).

MLX allocates every result anew, and by default glibc gives megabytes back to the system
as soon as they are free, to get them again, cleared, page by page, a moment later. An
inner loop over a wide perceptron spends a third of its time on that. On macOS MLX keeps
a cache of its own.
"""

from __future__ import annotations

import ctypes
import sys
from typing import Final

# <malloc.h>: parameters of mallopt.
_TRIM_THRESHOLD: Final = -1
_TOP_PAD: Final = -2
_MMAP_THRESHOLD: Final = -3

KEPT_BYTES: Final = 256 * 2**20
"""Freed memory that is not given back."""

_LARGEST_MMAP_THRESHOLD: Final = 32 * 2**20
_PAD_BYTES: Final = 2**20


def keep_freed_memory() -> bool:
    """Have glibc keep up to `KEPT_BYTES` of freed memory.

    Returns:
        Whether it will: False on macOS and with other C libraries.
    """
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    settings = {
        _TRIM_THRESHOLD: KEPT_BYTES,
        _TOP_PAD: _PAD_BYTES,
        _MMAP_THRESHOLD: _LARGEST_MMAP_THRESHOLD,
    }
    return all(mallopt(name, value) == 1 for name, value in settings.items())
