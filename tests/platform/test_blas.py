"""The BLAS that MLX uses, and the warning about a slow one."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import types
import warnings
from pathlib import Path

import pytest

from mlpeft.platform import blas

linux_only = pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="macOS needs no BLAS to be loaded"
)


class FakeLibrary:
    """A C library that only has the symbols named."""

    def __init__(self, *symbols: str) -> None:
        for symbol in symbols:
            setattr(self, symbol, types.SimpleNamespace())


@pytest.fixture
def loader(monkeypatch: pytest.MonkeyPatch):
    """A fresh search for a BLAS on Linux, over the libraries of a dict.

    Call it with {name: library}; whatever is not in there fails to load. It returns the
    info and the warnings' texts.
    """

    def load(libraries: dict[str, FakeLibrary], named: str | None = None):
        def opened(name: str | None, mode: int = 0) -> FakeLibrary:
            if name not in libraries:
                raise OSError(f"{name}: cannot open shared object file")
            return libraries[name]

        libraries.setdefault(None, FakeLibrary())
        monkeypatch.setattr(blas.ctypes, "CDLL", opened)
        monkeypatch.setattr(blas, "_file_of", lambda _: Path("/lib/libfound.so.1"))
        monkeypatch.setattr(blas.sys, "platform", "linux")
        monkeypatch.delitem(sys.modules, "mlx.core", raising=False)
        monkeypatch.delenv(blas.VARIABLE, raising=False)
        if named is not None:
            monkeypatch.setenv(blas.VARIABLE, named)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            info = blas.load_blas.__wrapped__()
        return info, [str(warning.message) for warning in caught]

    return load


def test_a_blas_that_is_global_already_is_kept(loader) -> None:
    process = FakeLibrary("cblas_sgemm", "openblas_set_num_threads")
    info, said = loader({None: process, "libopenblas.so.0": FakeLibrary()})
    assert (info.name, info.fast, info.library) == ("OpenBLAS", True, process)
    assert said == []


def test_the_named_library_comes_before_the_systems(loader) -> None:
    mine = FakeLibrary("cblas_sgemm")
    system = FakeLibrary("cblas_sgemm", "openblas_set_num_threads")
    info, said = loader(
        {"/my/blas.so": mine, "libopenblas.so.0": system}, "/my/blas.so"
    )
    assert info.library is mine
    assert info.name == "libfound.so.1"
    assert said == []


def test_the_systems_blas_is_found_by_its_name(loader, monkeypatch) -> None:
    monkeypatch.setattr(blas.sys, "path", [])
    monkeypatch.setattr(blas.sys, "prefix", "/nowhere")
    monkeypatch.setattr(blas.sys, "base_prefix", "/nowhere")
    blis = FakeLibrary("cblas_sgemm", "bli_thread_set_num_threads")
    info, said = loader({"libblis.so.4": blis})
    assert info.name == "BLIS"
    assert said == []


def test_a_library_without_the_function_is_skipped(loader, monkeypatch) -> None:
    monkeypatch.setattr(blas, "candidates", lambda: ["half.so", "whole.so"])
    whole = FakeLibrary("cblas_sgemm")
    info, _ = loader({"half.so": FakeLibrary("sgemm_"), "whole.so": whole})
    assert info.library is whole


def test_without_a_blas_one_warning_names_the_remedy(loader) -> None:
    info, said = loader({})
    assert (info.name, info.fast) == ("reference", False)
    assert len(said) == 1
    assert "libopenblas0-pthread" in said[0]
    assert info.remedy == said[0]


def test_the_mkl_wheel_is_only_recommended_where_it_exists(loader, monkeypatch) -> None:
    monkeypatch.setattr(blas.platform, "machine", lambda: "aarch64")
    _, said = loader({})
    assert "pip install mkl" not in said[0]
    monkeypatch.setattr(blas.platform, "machine", lambda: "x86_64")
    _, said = loader({})
    assert "pip install mkl" in said[0]


def test_an_unusable_named_library_is_reported_with_the_reason(loader) -> None:
    info, said = loader({"libopenblas.so.0": FakeLibrary("cblas_sgemm")}, "/my/typo.so")
    assert not info.fast
    assert "MLPEFT_BLAS=/my/typo.so" in said[0]
    assert "cannot open shared object file" in said[0]


def test_none_keeps_the_reference_blas_in_silence(loader) -> None:
    info, said = loader({"libopenblas.so.0": FakeLibrary("cblas_sgemm")}, "none")
    assert (info.name, info.fast) == ("reference", False)
    assert said == []


def test_importing_mlx_first_is_reported_with_the_right_order(
    loader, monkeypatch
) -> None:
    original = blas._preloaded

    def after_mlx():
        monkeypatch.setitem(sys.modules, "mlx.core", types.ModuleType("mlx.core"))
        return original()

    monkeypatch.setattr(blas, "_preloaded", after_mlx)
    _, said = loader({"libopenblas.so.0": FakeLibrary("cblas_sgemm")})
    assert "mlpeft.prepare(), before you import mlx" in said[0]


def test_on_macos_nothing_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blas.sys, "platform", "darwin")
    monkeypatch.setattr(blas.ctypes, "CDLL", pytest.fail)
    info = blas.load_blas.__wrapped__()
    assert (info.name, info.fast) == ("Accelerate", True)


def test_the_mkl_wheels_file_comes_before_the_systems_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = tmp_path / "lib" / "python3.11" / "site-packages"
    site.mkdir(parents=True)
    wheel = tmp_path / "lib" / "libmkl_rt.so.9"
    wheel.touch()
    monkeypatch.setattr(blas.sys, "path", ["", str(site)])
    found = blas.candidates()
    assert found.index(str(wheel)) < found.index("libopenblas.so.0")


def test_mkl_gets_defaults_that_the_user_can_override(loader, monkeypatch) -> None:
    monkeypatch.setattr(blas, "candidates", lambda: ["/x/libmkl_rt.so.3"])
    monkeypatch.setenv("MKL_THREADING_LAYER", "GNU")
    monkeypatch.setenv("MKL_CBWR", "")
    monkeypatch.delenv("MKL_CBWR")
    loader({"/x/libmkl_rt.so.3": FakeLibrary("cblas_sgemm")})
    assert os.environ["MKL_THREADING_LAYER"] == "GNU"
    assert os.environ["MKL_CBWR"] == "AUTO"


def test_threads_can_be_set_where_the_blas_has_the_setting() -> None:
    before = blas.blas_threads()
    if before is None:
        pytest.skip("the BLAS in use here has no thread setting")
    try:
        assert blas.set_blas_threads(2) == 2
        assert blas.set_blas_threads(1) == 1
        assert blas.blas_threads() == 1
    finally:
        blas.set_blas_threads(before)


def test_less_than_one_thread_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 1, 0 was given"):
        blas.set_blas_threads(0)


FAKE_BLAS = """
void cblas_sgemm(int order, int ta, int tb, int m, int n, int k, float alpha,
                 const float *a, int lda, const float *b, int ldb, float beta,
                 float *c, int ldc) {
  for (int i = 0; i < m; ++i)
    for (int j = 0; j < n; ++j) c[i * ldc + j] = 42.0f;
}
"""

USE = """
from mlpeft.platform.blas import load_blas
info = load_blas()
import mlx.core as mx
a = mx.random.normal((32, 32))
print(info.path, info.fast, float((a @ a).max()))
"""


@linux_only
@pytest.mark.skipif(shutil.which("gcc") is None, reason="needs gcc to build a library")
def test_matrix_products_of_mlx_call_the_library_that_was_loaded(
    tmp_path: Path,
) -> None:
    """A library whose cblas_sgemm answers 42 shows through in mlx.core."""
    (tmp_path / "fake.c").write_text(FAKE_BLAS)
    library = tmp_path / "libfake.so"
    subprocess.run(
        ["gcc", "-shared", "-fPIC", "-o", library, tmp_path / "fake.c"], check=True
    )
    done = subprocess.run(
        [sys.executable, "-c", USE],
        env={**os.environ, blas.VARIABLE: str(library)},
        cwd=Path(__file__).resolve().parents[2],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stdout.split() == [str(library), "True", "42.0"]


@linux_only
def test_the_library_found_here_is_in_this_process() -> None:
    info = blas.load_blas()
    if info.path is None:
        pytest.skip("no fast BLAS on this machine")
    assert str(info.path.resolve()) in Path("/proc/self/maps").read_text()
