"""This process: signals as a question, and threads that have really ended.

MLX keeps state for each thread and takes Python's lock to free it when the thread ends.
Up to Python 3.12 `Thread.join` returns before that. If the interpreter exits meanwhile,
it refuses the lock in the middle of C++ code, which aborts the process (`terminate
called without an active exception`).
"""

from __future__ import annotations

import os
import select
import signal
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from mlpeft.launch import INTERRUPTED

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType


LAST_WORDS_S: Final = 5.0
"""How long a process that was asked twice may take, in seconds."""


@contextmanager
def asked_to_stop() -> Iterator[Callable[[], bool]]:
    """Yield a function that tells whether someone asked this process to stop.

    Ctrl-C, SIGTERM and a closed terminal (SIGHUP) ask. The second request raises
    KeyboardInterrupt and ends the process `LAST_WORDS_S` later, whatever it is at; the
    third ends it at once.

    Only for the main thread.
    """
    stop = threading.Event()

    def handle(number: int, frame: FrameType | None) -> None:
        if stop.is_set():
            signal.default_int_handler(number, frame)
        stop.set()

    previous = {number: signal.getsignal(number) for number in stop_signals()}
    with _ended_by_a_second_signal():
        for number in previous:
            signal.signal(number, handle)
        try:
            yield stop.is_set
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)


def stop_signals() -> tuple[signal.Signals, ...]:
    """The signals that ask to stop: not SIGHUP under nohup, which ignores it."""
    asking = [signal.SIGINT, signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        asking.append(signal.SIGHUP)
    return tuple(asking)


@contextmanager
def _ended_by_a_second_signal() -> Iterator[None]:
    """Watch for signals in a thread: Python's handlers wait for the main thread.

    It may be in a computation, or wait for something that never comes.
    """
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    asking = stop_signals()
    before = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    watcher = threading.Thread(
        target=_end_on_second, args=(reading, asking), name="signals", daemon=True
    )
    watcher.start()
    try:
        yield
    finally:
        signal.set_wakeup_fd(before)
        os.close(writing)  # ends the watcher, unless it counts down already


def _end_on_second(reading: int, asking: tuple[signal.Signals, ...]) -> None:
    requests = 0
    try:
        while requests < 2:
            arrived = os.read(reading, 1)
            if not arrived:
                return
            requests += arrived[0] in asking
        ready, _, _ = select.select([reading], [], [], LAST_WORDS_S)
        if ready and not os.read(reading, 1):
            # The handlers are gone; only the end of the process is left.
            time.sleep(LAST_WORDS_S)
    finally:
        os.close(reading)
    os._exit(INTERRUPTED)


def end_with_input() -> None:
    """End this process at once when its standard input ends.

    Whoever started it holds the other end, which the system closes even after a
    kill -9.
    """
    threading.Thread(target=_wait_for_input_end, name="tie", daemon=True).start()


def _wait_for_input_end() -> None:
    # Not sys.stdin: its lock would be held when the interpreter ends.
    while os.read(0, 1 << 12):
        pass
    os._exit(INTERRUPTED)


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
