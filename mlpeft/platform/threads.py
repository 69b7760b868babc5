"""Wait until a thread that used MLX has really ended.

MLX keeps state for each thread and takes Python's lock to free it when the thread ends.
Up to Python 3.12 `Thread.join` returns before that. If the interpreter exits meanwhile,
it refuses the lock in the middle of C++ code, which aborts the process (`terminate
called without an active exception`).
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Final

_LOOK_S: Final = 0.001
_BLIND_WAIT_S: Final = 0.1
"""If the system does not say whether a thread exists: far longer than its end takes."""


def wait_for_thread_end(native_id: int, timeout_s: float = 5.0) -> bool:
    """Wait until the operating system has ended a thread that was joined.

    Args:
        native_id: `threading.get_native_id()` of the thread.
        timeout_s: Give up after this many seconds.

    Returns:
        Whether the thread is known to have ended.
    """
    if sys.version_info >= (3, 13):
        return True  # a join waits for the operating system
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
