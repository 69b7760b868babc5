"""This process: Ctrl-C as a question, and threads that have really ended.

MLX keeps state for each thread and takes Python's lock to free it when the thread ends.
Up to Python 3.12 `Thread.join` returns before that. If the interpreter exits meanwhile,
it refuses the lock in the middle of C++ code, which aborts the process (`terminate
called without an active exception`).
"""

from __future__ import annotations

import signal
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType


@contextmanager
def asked_to_stop() -> Iterator[Callable[[], bool]]:
    """Yield a function that tells whether Ctrl-C or SIGTERM has arrived.

    A second Ctrl-C interrupts at once, as usual.
    """
    stop = threading.Event()

    def handle(number: int, frame: FrameType | None) -> None:
        if stop.is_set() and number == signal.SIGINT:
            signal.default_int_handler(number, frame)
        stop.set()

    previous = {
        number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)
    }
    for number in previous:
        signal.signal(number, handle)
    try:
        yield stop.is_set
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


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
