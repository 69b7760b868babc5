"""Make MLX use the OpenBLAS in NumPy's Linux wheels.

It is installed with NumPy, supports the newest processors, and is as fast as a separate
one. NumPy's build renames its functions and gives them 64-bit integers
(`scipy_cblas_sgemm64_`), while MLX calls `cblas_sgemm` with 32-bit ones. So a library
with one function, built by the g++ that `mx.compile` needs anyway, forwards the calls.
"""

from __future__ import annotations

import ctypes
import hashlib
import importlib.util
import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Final

from mlpeft.platform.kernel_flags import real_compiler

if TYPE_CHECKING:
    from collections.abc import Iterable

SET_THREADS: Final = "scipy_openblas_set_num_threads64_"
GET_THREADS: Final = "scipy_openblas_get_num_threads64_"

_GEMM: Final = "scipy_cblas_sgemm64_"
_TARGET: Final = "mlpeft_sgemm"
_SOURCE: Final = f"""
#include <cstdint>
using Int = int64_t;
extern "C" {{
void (*{_TARGET})(int, int, int, Int, Int, Int, float, const float*, Int, const float*,
                  Int, float, float*, Int);
void cblas_sgemm(int order, int trans_a, int trans_b, int m, int n, int k, float alpha,
                 const float* a, int lda, const float* b, int ldb, float beta, float* c,
                 int ldc) {{
  {_TARGET}(order, trans_a, trans_b, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc);
}}
}}
"""
_BUILD_S: Final = 60


def load_numpy_blas(folder: Path) -> ctypes.CDLL | None:
    """Make NumPy's OpenBLAS the one that MLX finds.

    Call it before the first `import mlx.core`.

    Args:
        folder: A private folder for the library.

    Returns:
        OpenBLAS, whose `SET_THREADS` sets the threads of both NumPy and MLX; None if
        this NumPy does not include it (conda's, a distribution's) or there is no g++.
    """
    for path in _libraries():
        try:
            openblas = ctypes.CDLL(str(path))
            target = ctypes.cast(getattr(openblas, _GEMM), ctypes.c_void_p)
            bridge = ctypes.CDLL(str(_build(folder)), mode=ctypes.RTLD_GLOBAL)
        except (OSError, AttributeError, subprocess.SubprocessError):
            continue
        ctypes.c_void_p.in_dll(bridge, _TARGET).value = target.value
        return openblas
    return None


def _libraries() -> Iterable[Path]:
    """The files of OpenBLAS in NumPy's wheel, without importing NumPy."""
    spec = importlib.util.find_spec("numpy")
    if spec is None or spec.origin is None:
        return []
    wheel = Path(spec.origin).parents[1] / "numpy.libs"
    return sorted(wheel.glob("libscipy_openblas64_*.so*"))


def _build(folder: Path) -> Path:
    """The library that forwards the calls, built if it does not exist.

    Raises:
        OSError: If it cannot be written, or there is no g++.
        subprocess.SubprocessError: If g++ fails.
    """
    name = hashlib.sha256(_SOURCE.encode()).hexdigest()[:12]
    library = folder / f"libmlpeft_blas_{name}.so"
    if library.is_file():
        return library
    compiler = real_compiler()
    if compiler is None:
        raise FileNotFoundError("there is no g++ on PATH")
    unfinished = library.with_suffix(f".{os.getpid()}")
    subprocess.run(  # noqa: S603 - the compiler that MLX would call
        [compiler, "-O2", "-shared", "-fPIC", "-x", "c++", "-", "-o", str(unfinished)],
        input=_SOURCE.encode(),
        capture_output=True,
        timeout=_BUILD_S,
        check=True,
    )
    unfinished.replace(library)  # atomic
    return library
