"""The private folder of MLX's compiled kernels: its slots and libraries."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from mlpeft.platform import compile_cache
from mlpeft.platform.compile_cache import (
    is_whole_library,
    remove_broken_libraries,
    take_slot,
)

linux_only = pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="macOS compiles kernels for Metal"
)


def a_library() -> Path:
    """Any shared library on this machine."""
    return next(
        Path(line.split()[-1])
        for line in Path("/proc/self/maps").read_text().splitlines()
        if "/libc.so" in line or "/libm.so" in line
    )


def test_two_holders_get_two_slots_and_a_released_one_is_taken_again(
    tmp_path: Path,
) -> None:
    first, first_lock = take_slot(tmp_path)
    second, second_lock = take_slot(tmp_path)
    assert first != second
    first_lock.close()
    third, third_lock = take_slot(tmp_path)
    assert third == first
    second_lock.close()
    third_lock.close()


def test_a_slot_is_only_for_its_owner(tmp_path: Path) -> None:
    slot, lock = take_slot(tmp_path / "kernels")
    lock.close()
    assert slot.stat().st_mode & 0o077 == 0
    assert slot.parent.stat().st_mode & 0o077 == 0


def test_a_folder_of_another_user_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compile_cache.os, "getuid", lambda: tmp_path.stat().st_uid + 1)
    with pytest.raises(PermissionError, match="another user"):
        take_slot(tmp_path)


@linux_only
def test_incomplete_libraries_are_removed(
    tmp_path: Path,
) -> None:
    """Cut a real library short at several places; none of the pieces is left."""
    whole = tmp_path / "libwhole.so"
    shutil.copy(a_library(), whole)
    data = whole.read_bytes()
    for length in (0, 10, 64, len(data) // 2, len(data) - 1):
        (tmp_path / f"lib{length}.so").write_bytes(data[:length])
    (tmp_path / "libzeros.so").write_bytes(bytes(4096) + data[4096:])
    assert is_whole_library(whole)
    assert len(remove_broken_libraries(tmp_path)) == 6
    assert [path.name for path in tmp_path.iterdir()] == ["libwhole.so"]


@linux_only
def test_a_new_slot_links_the_complete_and_settled_libraries_of_others(
    tmp_path: Path,
) -> None:
    first, first_lock = take_slot(tmp_path)
    kernels = first / "mlx" / "0.0" / "cpu"
    kernels.mkdir(parents=True)
    data = a_library().read_bytes()
    (kernels / "libwhole.so").write_bytes(data)
    (kernels / "libbroken.so").write_bytes(data[:1000])
    for path in kernels.iterdir():
        os.utime(path, (0, 0))
    (kernels / "libfresh.so").write_bytes(data)
    second, second_lock = take_slot(tmp_path)
    taken = second / "mlx" / "0.0" / "cpu"
    assert [path.name for path in taken.iterdir()] == ["libwhole.so"]
    assert (taken / "libwhole.so").read_bytes() == data
    first_lock.close()
    second_lock.close()


COMPILE = """
import tempfile
before = tempfile.gettempdir()
from mlpeft import platform
slot = platform.private_compile_cache()
import mlx.core as mx
print(mx.compile(lambda x: mx.exp(x) * 0 + 1)(mx.zeros(3)).tolist())
print(slot)
print(tempfile.gettempdir() == before)
"""


def run_compile(cache: Path) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", COMPILE],
        env={**os.environ, "XDG_CACHE_HOME": str(cache), "MLPEFT_BLAS": "none"},
        cwd=Path(__file__).resolve().parents[2],
        capture_output=True,
        text=True,
        timeout=100,
        check=True,
    )
    return done.stdout.splitlines()


@linux_only
@pytest.mark.skipif(shutil.which("g++") is None, reason="needs g++ to compile kernels")
def test_mlx_compiles_in_the_slot_and_heals_from_a_cut_off_kernel(
    tmp_path: Path,
) -> None:
    result, slot, python_is_untouched = run_compile(tmp_path)
    assert (result, python_is_untouched) == ("[1.0, 1.0, 1.0]", "True")
    assert Path(slot).is_relative_to(tmp_path / "mlpeft" / "kernels")
    (kernel,) = Path(slot).rglob("*.so")
    kernel.write_bytes(kernel.read_bytes()[:1000])
    assert run_compile(tmp_path) == [result, slot, python_is_untouched]
    assert is_whole_library(kernel)


@linux_only
def test_without_a_writable_cache_folder_a_temporary_one_serves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    monkeypatch.setenv("TMPDIR", os.environ["TMPDIR"])
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    slot = compile_cache.private_compile_cache.__wrapped__()
    assert slot.parent == tmp_path
    assert os.environ["TMPDIR"] == str(slot)


@linux_only
def test_where_no_folder_can_be_used_mlx_compiles_nothing_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(folder: Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", str(folder))

    monkeypatch.setattr(compile_cache, "check_usable", full)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("MLX_DISABLE_COMPILE", "0")
    with pytest.warns(compile_cache.KernelWarning, match="No space left"):
        assert compile_cache.private_compile_cache.__wrapped__() is None
    assert os.environ["MLX_DISABLE_COMPILE"] == "1"


def test_a_usable_folder_stays_as_it_was(tmp_path: Path) -> None:
    compile_cache.check_usable(tmp_path)
    assert list(tmp_path.iterdir()) == []
