"""Waiting until a thread that used MLX is really gone.

MLX keeps state for each thread and, when the thread ends, takes Python's lock to drop
it. Up to Python 3.12 `Thread.join` returns before that: a thread that ends while the
interpreter does is then refused the lock in the middle of C++, which aborts the process
(`terminate called without an active exception`).
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Final

_LOOK_S: Final = 0.001
_BLIND_WAIT_S: Final = 0.1
"""Where nobody says whether a thread is there: far longer than its ending takes."""


def wait_for_thread_end(native_id: int, timeout_s: float = 5.0) -> bool:
    """Wait until the operating system has ended a thread that was joined.

    Args:
        native_id: `threading.get_native_id()` of the thread.
        timeout_s: Give up after so many seconds.

    Returns:
        Whether the thread is known to be gone.
    """
    if sys.version_info >= (3, 13):
        return True  # there, a join waits for the operating system
    if not sys.platform.startswith("linux"):
        time.sleep(_BLIND_WAIT_S)
        return False
    task = Path(f"/proc/self/task/{native_id}")
    deadline = time.monotonic() + timeout_s
    while task.exists():
        if time.monotonic() > deadline:
            return False
        time.sleep(_LOOK_S)
    return True
