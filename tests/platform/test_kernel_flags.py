"""Kernels for this processor: the script in front of g++, and failures."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from mlpeft.platform import kernel_flags

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="macOS compiles kernels for Metal"
)


@pytest.fixture
def compiler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A g++ that prints its arguments and refuses -mnonsense, alone on PATH."""
    folder = tmp_path / "usr"
    folder.mkdir()
    script = folder / "g++"
    script.write_text(
        '#!/bin/sh\ncase "$*" in *-mnonsense*) exit 1;; esac\necho "$@"\n'
    )
    script.chmod(0o755)
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.delenv(kernel_flags.VARIABLE, raising=False)
    return script


def found() -> str:
    program = shutil.which("g++")
    assert program is not None
    return subprocess.run(
        [program, "-O3", "a b.cpp"], capture_output=True, text=True, check=True
    ).stdout.strip()


def test_gxx_is_called_with_the_flags_after_its_own(
    compiler: Path, tmp_path: Path
) -> None:
    assert kernel_flags.add_kernel_flags(tmp_path)
    assert found() == " ".join(["-O3", "a b.cpp", *kernel_flags.FLAGS])


def test_signals_of_the_terminal_do_not_reach_the_compiler(
    compiler: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiler.write_text("#!/bin/sh\nkill -TERM $$\necho goes on\n")
    monkeypatch.setattr(kernel_flags, "_accepts", lambda *_: True)
    assert kernel_flags.add_kernel_flags(tmp_path)
    assert found() == "goes on"


def test_a_child_process_wraps_the_real_compiler_and_not_its_parents_script(
    compiler: Path, tmp_path: Path
) -> None:
    parent, child = tmp_path / "parent", tmp_path / "child"
    parent.mkdir()
    child.mkdir()
    assert kernel_flags.add_kernel_flags(parent)
    assert kernel_flags.real_compiler() == str(compiler)
    assert kernel_flags.add_kernel_flags(child)
    assert found().count("-march=native") == 1
    assert str(parent) not in os.environ["PATH"]


@pytest.mark.parametrize("flags", ["none", "-mnonsense"])
def test_without_flags_or_with_refused_ones_path_stays_as_it_is(
    compiler: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, flags: str
) -> None:
    monkeypatch.setenv(kernel_flags.VARIABLE, flags)
    before = os.environ["PATH"]
    assert not kernel_flags.add_kernel_flags(tmp_path)
    assert os.environ["PATH"] == before


def test_without_a_compiler_nothing_is_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert not kernel_flags.add_kernel_flags(tmp_path)


def test_libraries_for_other_flags_have_another_name(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv(kernel_flags.VARIABLE, raising=False)
    usual = kernel_flags.kernel_key.__wrapped__()
    assert usual == kernel_flags.kernel_key.__wrapped__()
    monkeypatch.setenv(kernel_flags.VARIABLE, "none")
    assert kernel_flags.kernel_key.__wrapped__() != usual
