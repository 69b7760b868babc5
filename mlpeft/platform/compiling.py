"""Saying why nothing seems to happen while MLX builds kernels for the first time.

On Linux `mx.compile` has g++ build C++, which for a convolutional model takes half a
minute on a machine that has never seen it. Whether that is going on shows in the folder
of kernels: it grows.
"""

from __future__ import annotations

import logging
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

from mlpeft.platform.compile_cache import private_compile_cache

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

log = logging.getLogger("mlpeft.compute")

AFTER_S = 2.0
"""Silence up to here needs no explanation."""
AGAIN_S = 10.0


@contextmanager
def compile_notice() -> Iterator[None]:
    """While the body runs, say now and then that kernels are built, if they are."""
    folder = private_compile_cache()
    if folder is None:  # macOS: Metal's are quick
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
                "compiling kernels for this model, once a machine: %d so far",
                now - before,
            )
            told, wait_s = now, AGAIN_S


def _kernels(folder: Path) -> int:
    """Kernels whose building has at least begun."""
    return sum(1 for _ in folder.glob("mlx/**/*.cpp"))
