"""Freed memory is reused without a system call, and by any thread."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

CHURN = """
import ctypes, resource, sys
keeps = False
if "keep" in sys.argv:
    from mlpeft.platform import keep_freed_memory
    keeps = keep_freed_memory()
libc = ctypes.CDLL(None)
libc.malloc.restype, libc.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
libc.free.argtypes = [ctypes.c_void_p]
size = 2**20
def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for turn in range(12):
    if turn == 2:
        before = faults()
    blocks = [libc.malloc(size) for _ in range(8)]
    for block in blocks:
        ctypes.memset(block, 1, size)
    for block in blocks:
        libc.free(block)
print(keeps, faults() - before)
"""

THREADS = """
import ctypes, sys, threading
shares = False
if "share" in sys.argv:
    from mlpeft.platform import share_freed_memory
    shares = share_freed_memory()
libc = ctypes.CDLL(None)
libc.malloc.restype, libc.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
libc.free.argtypes = [ctypes.c_void_p]
libc.mallopt(-3, 2**25)
size = 2**20
def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096
def churn():
    blocks = [libc.malloc(size) for _ in range(16)]
    for block in blocks:
        ctypes.memset(block, 1, size)
    pins.append(libc.malloc(size))  # keeps what is below it
    for block in blocks:
        libc.free(block)
    turns.release()
    done.wait()
pins, turns, done = [], threading.Semaphore(0), threading.Event()
before = resident()
threads = [threading.Thread(target=churn) for _ in range(8)]
for thread in threads:
    thread.start()
    turns.acquire()
print(shares, resident() - before)
done.set()
"""


def churn(*words: str, script: str = CHURN) -> tuple[str, int]:
    done = subprocess.run(
        [sys.executable, "-c", script, *words],
        cwd=Path(__file__).resolve().parents[2],
        capture_output=True,
        text=True,
        timeout=100,
        check=True,
    )
    keeps, figure = done.stdout.split()
    return keeps, int(figure)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc's mallopt")
def test_freed_memory_is_used_again_without_page_faults() -> None:
    """8 MiB allocated, written and freed, ten times over."""
    assert churn("plain")[0] == "False"
    keeps, faults = churn("keep")
    if keeps == "False":
        pytest.skip("this C library has no mallopt")
    assert faults < churn("plain")[1] / 10


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc's mallopt")
def test_what_one_thread_freed_is_used_by_the_next() -> None:
    """Eight threads, each of which allocates, writes and frees 16 MiB, one by one."""
    shares, together = churn("share", script=THREADS)
    if shares == "False":
        pytest.skip("this C library has no mallopt")
    assert together < 64 * 2**20 < churn("plain", script=THREADS)[1]
