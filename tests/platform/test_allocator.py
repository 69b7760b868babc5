"""Freed memory is reused without a system call."""

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


def churn(*words: str) -> tuple[str, int]:
    done = subprocess.run(
        [sys.executable, "-c", CHURN, *words],
        cwd=Path(__file__).resolve().parents[2],
        capture_output=True,
        text=True,
        timeout=100,
        check=True,
    )
    keeps, faults = done.stdout.split()
    return keeps, int(faults)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc's mallopt")
def test_freed_memory_is_used_again_without_page_faults() -> None:
    """8 MiB allocated, written and freed, ten times over."""
    assert churn("plain")[0] == "False"
    keeps, faults = churn("keep")
    if keeps == "False":
        pytest.skip("this C library has no mallopt")
    assert faults < churn("plain")[1] / 10
