"""MLX's matrix products on NumPy's OpenBLAS."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from mlpeft.platform import numpy_blas

pytestmark = [
    pytest.mark.skipif(
        not sys.platform.startswith("linux"), reason="macOS has Accelerate"
    ),
    pytest.mark.skipif(shutil.which("g++") is None, reason="needs g++"),
    pytest.mark.skipif(
        not list(numpy_blas._libraries()), reason="this NumPy brings no OpenBLAS"
    ),
]

PRODUCTS = """
import numpy as np
from mlpeft.platform import load_blas, set_blas_threads
info = load_blas()
import mlx.core as mx
rng = np.random.default_rng(0)
a, b = (rng.normal(size=shape).astype(np.float32) for shape in ((70, 300), (40, 300)))
product = np.array(mx.array(a) @ mx.array(b).T)
np.testing.assert_allclose(product, a @ b.T, rtol=1e-4, atol=1e-4)
# The same product from another place in memory: bits must not depend on it.
apart = np.array(mx.array(np.vstack([a[:1], a]))[1:] @ mx.array(b).T)
assert apart.tobytes() == product.tobytes()
print(info.name, set_blas_threads(2), set_blas_threads(1))
"""


def run(code: str, **env: str) -> str:
    return subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **env},
        cwd=Path(__file__).resolve().parents[2],
        capture_output=True,
        text=True,
        timeout=100,
        check=True,
    ).stdout.strip()


def test_products_are_right_and_threads_can_be_set() -> None:
    assert run(PRODUCTS, MLPEFT_BLAS="numpy") == "OpenBLAS of NumPy 2 1"


def test_the_function_that_mlx_calls_is_ours() -> None:
    """The dynamic linker gives MLX the global `cblas_sgemm`, which is the bridge's."""
    code = (
        "import ctypes\n"
        "from mlpeft.platform.blas import _file_of, load_blas\n"
        "load_blas()\n"
        "print(_file_of(ctypes.CDLL(None).cblas_sgemm).name)\n"
    )
    assert run(code, MLPEFT_BLAS="numpy").startswith("libmlpeft_blas_")


def test_the_bridge_is_built_once(tmp_path: Path) -> None:
    first = numpy_blas._build(tmp_path)
    built = first.stat().st_mtime_ns
    assert numpy_blas._build(tmp_path) == first
    assert first.stat().st_mtime_ns == built
    assert [path.name for path in tmp_path.iterdir()] == [first.name]


def test_without_a_compiler_or_a_wheels_openblas_there_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(numpy_blas, "real_compiler", lambda: None)
    assert numpy_blas.load_numpy_blas(tmp_path) is None
    monkeypatch.undo()
    monkeypatch.setattr(numpy_blas, "_libraries", list)
    assert numpy_blas.load_numpy_blas(tmp_path) is None
