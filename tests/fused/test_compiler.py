"""Compiled code is kept, private, and made again when it is damaged."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import time
from pathlib import Path

import mlx.core as mx
import numpy as np
import pytest

from mlpeft.fused import CompilerFailed, NoCompiler, Program, compiler, find_compiler
from mlpeft.fused.emit import emit
from mlpeft.fused.graph import trace
from mlpeft.fused.schedule import Schedule
from mlpeft.fused.simplify import simplified
from tests.fused.ground import natively, normal

ANSWER = "int answer(void) { return %d; }"


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("MLPEFT_CACHE_DIR", str(tmp_path))
    return tmp_path / "fused"


def test_a_cold_cache_compiles_and_a_warm_one_does_not(cache, monkeypatch):
    assert compiler.load(ANSWER % 41).answer() == 41
    monkeypatch.setattr(compiler, "_compiled", None)  # a call would fail
    assert compiler.load(ANSWER % 41).answer() == 41
    assert len(list(cache.iterdir())) == 1


def test_the_cache_is_its_owners_alone(cache):
    cache.mkdir(parents=True, mode=0o755)
    compiler.load(ANSWER % 1)
    assert cache.stat().st_mode & 0o777 == 0o700
    (library,) = cache.iterdir()
    assert library.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("content", [b"", b"\x7fELF and no more"])
def test_a_damaged_library_is_made_again(cache, content):
    compiler.load(ANSWER % 2)
    (library,) = cache.iterdir()
    library.unlink()  # another file: the one that is loaded stays whole
    library.write_bytes(content)
    assert compiler.load(ANSWER % 2).answer() == 2
    (healed,) = cache.iterdir()
    assert healed.read_bytes() != content


def test_a_link_to_another_library_is_not_followed(cache, tmp_path):
    compiler.load(ANSWER % 3)
    (library,) = cache.iterdir()
    elsewhere = tmp_path / "elsewhere.so"
    library.rename(elsewhere)
    library.symlink_to(elsewhere)
    assert compiler.load(ANSWER % 3).answer() == 3
    (healed,) = cache.iterdir()
    assert not healed.is_symlink()


def test_a_cache_that_cannot_be_used_gives_way_to_a_folder_of_this_process(
    tmp_path, monkeypatch
):
    (tmp_path / "fused").write_text("a file where the folder should be")
    monkeypatch.setenv("MLPEFT_CACHE_DIR", str(tmp_path))
    assert compiler.load(ANSWER % 4).answer() == 4


def test_the_oldest_libraries_go(cache, monkeypatch):
    monkeypatch.setattr(compiler, "_MOST_KEPT", 2)
    for number in range(4):
        compiler.load(ANSWER % number)
        for age, path in enumerate(sorted(cache.iterdir(), key=os.path.getmtime)):
            os.utime(path, (age, age))
    assert len(list(cache.iterdir())) == 2


def age(path, seconds):
    then = time.time() - seconds
    os.utime(path, (then, then))


def test_of_too_many_bytes_those_used_longest_ago_go(cache, monkeypatch):
    compiler.load(ANSWER % 1)
    (first,) = cache.iterdir()
    age(first, 90)
    compiler.load(ANSWER % 2)
    (second,) = set(cache.iterdir()) - {first}
    age(second, 60)
    compiler.load(ANSWER % 1)  # used again
    monkeypatch.setattr(compiler, "_MOST_BYTES", int(2.5 * first.stat().st_size))
    compiler.load(ANSWER % 3)
    assert len(list(cache.iterdir())) == 2
    assert first.exists()
    assert not second.exists()
    monkeypatch.setattr(compiler, "_MOST_BYTES", 1)
    assert compiler.load(ANSWER % 4).answer() == 4  # the newest is kept all the same
    assert len(list(cache.iterdir())) == 1


def test_what_other_processes_remove_meanwhile_is_no_error(cache, monkeypatch):
    compiler.load(ANSWER % 1)
    listed = Path.iterdir

    def with_ghosts(folder):
        yield folder / "gone.so"
        yield folder / ".gone.so.1.tmp"
        yield from listed(folder)

    monkeypatch.setattr(Path, "iterdir", with_ghosts)
    monkeypatch.setattr(compiler, "_MOST_KEPT", 1)
    assert compiler.load(ANSWER % 2).answer() == 2
    assert len(list(listed(cache))) == 1


def test_what_a_killed_process_left_goes_and_what_is_being_written_stays(cache):
    cache.mkdir(parents=True, mode=0o700)
    left, fresh = cache / ".a.so.1.tmp", cache / ".b.so.2.tmp"
    for path in (left, fresh):
        path.write_bytes(b"half")
    age(left, 2 * compiler._LEFT_S)
    compiler.load(ANSWER % 1)
    assert not left.exists()
    assert fresh.exists()


def test_a_library_that_is_removed_stays_with_those_that_have_loaded_it(cache):
    library = compiler.load(ANSWER % 7)
    for path in cache.iterdir():
        path.unlink()
    assert library.answer() == 7


def test_without_a_compiler_it_says_so(cache, monkeypatch):
    monkeypatch.setenv("MLPEFT_CC", "none")
    found = find_compiler()
    assert isinstance(found, NoCompiler)
    with pytest.raises(CompilerFailed, match="MLPEFT_CC=none"):
        compiler.load(ANSWER % 5)
    monkeypatch.setenv("MLPEFT_CC", "")
    monkeypatch.setenv("PATH", str(cache))
    found = find_compiler()
    assert isinstance(found, NoCompiler)
    assert "there is no C compiler" in found.reason


def test_code_that_does_not_compile_is_told_in_the_compilers_words(cache):
    with pytest.raises(CompilerFailed, match="error"):
        compiler.load("no C at all")


def test_the_bits_do_not_depend_on_how_it_is_compiled(cache, monkeypatch):
    """For the oldest processor without optimisation as for this one with all."""

    def function(x, w):
        import mlx.core as mx

        hidden = mx.tanh(x @ w.T)
        return mx.softmax(hidden, axis=-1), mx.sum(mx.exp(x)), hidden.T @ x, mx.erf(x)

    arrays = normal(7, 35), normal(40, 35, seed=1)
    as_usual = natively(function, *arrays)
    plain = [flag for flag in compiler.FLAGS if flag not in {"-O3", "-march=native"}]
    monkeypatch.setattr(compiler, "FLAGS", (*plain, "-O1"))
    monkeypatch.setattr(compiler, "X86_FLAGS", ())
    for mine, usual in zip(natively(function, *arrays), as_usual, strict=True):
        np.testing.assert_array_equal(mine, usual)


def test_kernels_that_repeat_are_written_once():
    def steps(many):
        def function(x):
            for _ in range(many):
                x = x - 0.5 * (x @ x)
            return (x,)

        graph = simplified(trace(function, normal(4, 4)))
        return emit(Schedule(graph), 1).text

    few, more = steps(2), steps(9)
    assert few.count("noinline") == more.count("noinline")


def test_scratch_memory_is_used_again():
    def function(x):
        for _ in range(50):
            x = mx_tanh_product(x)
        return (x,)

    graph = simplified(trace(function, normal(16, 16)))
    assert emit(Schedule(graph), 1).scratch_bytes <= 4 * 16 * 16 * 4


def mx_tanh_product(x):
    import mlx.core as mx

    return mx.tanh(x @ x)


def test_tasks_are_summed_in_their_order():
    program = Program(lambda x, w: (x * w, x), [normal(5), normal(5)], lambda: 1)
    x, w = np.random.default_rng(0).normal(size=(3, 5)).astype(np.float32), np.ones(5)
    w = w.astype(np.float32) / 3
    total, each = program([x, w], (False, True), 3)
    np.testing.assert_array_equal(total, (x[0] * w + x[1] * w) + x[2] * w)
    np.testing.assert_array_equal(each, x)


def test_a_compiler_that_hangs_is_given_up(cache, monkeypatch):
    def run(*_, **__):
        raise subprocess.TimeoutExpired("cc", 1)

    find_compiler()
    monkeypatch.setattr(compiler.subprocess, "run", run)
    with pytest.raises(CompilerFailed, match="did not end"):
        compiler.load(ANSWER % 6)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_a_program_that_is_dropped_is_unloaded(cache):
    """Or a run that meets thousands of shapes would keep them all."""

    def loaded():
        lines = Path("/proc/self/maps").read_text().splitlines()
        return {line.split()[-1] for line in lines if str(cache) in line}

    gc.collect()
    before = loaded()
    program = Program(lambda x: (x * 3.25,), [mx.zeros(7)])
    assert len(loaded() - before) == 1
    del program
    gc.collect()
    assert loaded() == before
