"""Find a fast BLAS and load it before MLX is imported (Linux).

The Linux wheel of MLX has the reference BLAS, whose matrix products are many times
slower than those of a tuned one. MLX calls only `cblas_sgemm`, which the dynamic linker
resolves when `mlx.core` is first imported: a library whose symbols are global by then
takes precedence over the bundled one. Loading one later has no effect. On macOS MLX
uses Metal and Accelerate, and none of this runs.
"""

from __future__ import annotations

import ctypes
import functools
import os
import platform
import site
import sys
import threading
import warnings
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from mlpeft.platform import numpy_blas
from mlpeft.platform.compile_cache import private_compile_cache

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

VARIABLE: Final = "MLPEFT_BLAS"
"""A library to load; `numpy` is NumPy's own, `none` keeps MLX's without a warning."""

SYSTEM_LIBRARIES: Final = ("libopenblas.so.0", "libblis.so.4", "libblis.so.3")
"""Names in Linux distributions and conda; the linker knows the folders."""

# INTEL's OpenMP is in the mkl wheel; GNU's may be missing from the machine.
# With CBWR the bits of a product do not depend on the memory alignment of its arrays.
MKL_DEFAULTS: Final = {"MKL_THREADING_LAYER": "INTEL", "MKL_CBWR": "AUTO"}


class BlasWarning(UserWarning):
    """MLX runs on a slow BLAS here."""


class _Vendor(NamedTuple):
    """A BLAS, identified by its symbols, and how to set its threads."""

    name: str
    set_threads: str
    get_threads: str
    integer: Any


_VENDORS: Final = (
    _Vendor("MKL", "MKL_Set_Num_Threads", "MKL_Get_Max_Threads", ctypes.c_int),
    _Vendor(
        "OpenBLAS",
        "openblas_set_num_threads",
        "openblas_get_num_threads",
        ctypes.c_int,
    ),
    _Vendor(
        "OpenBLAS of NumPy",
        numpy_blas.SET_THREADS,
        numpy_blas.GET_THREADS,
        ctypes.c_int,
    ),
    _Vendor(
        "BLIS",
        "bli_thread_set_num_threads",
        "bli_thread_get_num_threads",
        ctypes.c_int64,
    ),
)


@dataclass(frozen=True, slots=True)
class BlasInfo:
    """The BLAS that MLX's matrix products run on.

    Attributes:
        name: MKL, OpenBLAS, BLIS, Accelerate, reference, or the file's name.
        path: The file, if one was loaded.
        fast: False for the reference BLAS of MLX's Linux wheel.
        remedy: What to do about a slow one; else empty.
    """

    name: str
    path: Path | None = None
    fast: bool = True
    remedy: str = ""
    library: ctypes.CDLL | None = field(default=None, repr=False, compare=False)


@functools.cache
def load_blas() -> BlasInfo:
    """Find a fast BLAS and load it, once per process.

    In this order: one that is global already (LD_PRELOAD), the file named in
    MLPEFT_BLAS, NumPy's OpenBLAS, the mkl wheel, the system's OpenBLAS or BLIS. NumPy's
    comes first because it needs no download and was the fastest in our comparison
    (benchmarks/README.md).

    Warns:
        BlasWarning: Once, on Linux, if MLX stays on its reference BLAS or
            MLPEFT_BLAS cannot be used; the message says what to do.
    """
    if not sys.platform.startswith("linux"):
        return BlasInfo("Accelerate")
    info = _search(os.environ.get(VARIABLE, ""))
    if info.remedy:
        warnings.warn(info.remedy, BlasWarning, stacklevel=2)
    return info


def candidates() -> list[str]:
    """Files and library names to try, best first."""
    roots = dict.fromkeys([sys.prefix, site.getuserbase(), sys.base_prefix])
    folders = [Path(root) / "lib" for root in roots]
    # pip's folder for a wheel's data files, for a site folder outside of sys.prefix.
    folders += [Path(entry).parents[1] for entry in sys.path if _is_site(entry)]
    files = [
        str(path)
        for folder in dict.fromkeys(folders)
        for pattern in ("libmkl_rt.so*", *SYSTEM_LIBRARIES)
        for path in sorted(folder.glob(pattern))
    ]
    return [*files, *SYSTEM_LIBRARIES]


def set_blas_threads(threads: int) -> int | None:
    """Set how many threads one matrix product uses.

    The count can change the order of summation, and so the bits: set it once for a run.

    Args:
        threads: At least 1.

    Returns:
        The effective count, or None if the BLAS has no such setting (Accelerate, the
        reference BLAS).

    Raises:
        ValueError: If `threads` is less than 1.
    """
    if threads < 1:
        raise ValueError(f"BLAS threads should be at least 1, {threads} was given")
    global _asked  # noqa: PLW0603 - one a process, as the BLAS
    _asked = threads
    return _set(threads)


def compute_threads() -> int:
    """Threads that computing may take: as many as were set, else as the BLAS takes."""
    return _asked or blas_threads() or 1


@contextmanager
def one_blas_thread(*, needed: bool = True) -> Iterator[None]:
    """Within the body a product has one thread: those around it compute side by side.

    Args:
        needed: False: the body calls no BLAS, and nothing is changed.
    """
    global _alone, _before  # noqa: PLW0603 - likewise
    if not needed:
        yield
        return
    with _LOCK:
        if _alone == 0:
            _before = blas_threads() or 1
            if _before > 1:
                _set(1)
        _alone += 1
    try:
        yield
    finally:
        with _LOCK:
            _alone -= 1
            if _alone == 0 and _before > 1:
                _set(_before)


_asked = 0
_alone = 0
_before = 1
_LOCK = threading.Lock()


def _set(threads: int) -> int | None:
    library = load_blas().library
    vendor = _vendor(library)
    if library is None or vendor is None:
        return None
    if vendor.name == "MKL":
        # Otherwise MKL may use fewer, and the bits would depend on the machine's load.
        library.MKL_Set_Dynamic(ctypes.c_int(0))
    setter = getattr(library, vendor.set_threads)
    setter.argtypes, setter.restype = [vendor.integer], None
    setter(threads)
    return blas_threads()


def blas_threads() -> int | None:
    """How many threads one matrix product uses; None if the BLAS does not say."""
    library = load_blas().library
    vendor = _vendor(library)
    if vendor is None:
        return None
    getter = getattr(library, vendor.get_threads)
    getter.argtypes, getter.restype = [], vendor.integer
    return int(getter())


def _search(named: str) -> BlasInfo:
    """Find and load the BLAS for MLX; `named` is the value of MLPEFT_BLAS."""
    if named == "none":
        return BlasInfo("reference", fast=False)
    if (preloaded := _preloaded()) is not None:
        return preloaded
    if "mlx.core" in sys.modules:
        return _slow(
            "mlx.core was imported before mlpeft had loaded a fast BLAS, so it keeps "
            "its slow one; take a name from mlpeft (from mlpeft import ...), or call "
            "mlpeft.prepare(), before you import mlx"
        )
    found = _lent_by_numpy() if named in {"", "numpy"} else None
    problems: list[str] = []
    if found is None:
        found, problems = _first_usable([named] if named else candidates())
    if found is not None:
        return found
    if named:
        return _slow(
            f"{VARIABLE}={named} cannot be used as a BLAS ({'; '.join(problems)}), so "
            "MLX runs on its slow reference BLAS; name the file of a library that has "
            f"cblas_sgemm, or unset {VARIABLE} to search for one"
        )
    return _slow(
        "no fast BLAS found, so MLX's matrix products are many times slower than they "
        f"could be; {_remedy()}, or name a library in {VARIABLE} ({VARIABLE}=none "
        "silences this)"
    )


def _first_usable(names: Iterable[str]) -> tuple[BlasInfo | None, list[str]]:
    """Load the first library that has cblas_sgemm; else return the problems."""
    problems = []
    for name in names:
        if Path(name).name.startswith("libmkl"):
            for variable, value in MKL_DEFAULTS.items():
                os.environ.setdefault(variable, value)
        try:
            library = ctypes.CDLL(name, mode=ctypes.RTLD_GLOBAL)
        except OSError as error:
            problems.append(str(error))
            continue
        if hasattr(library, "cblas_sgemm"):
            return _describe(library), problems
        problems.append(f"{name} has no cblas_sgemm")
    return None, problems


def _lent_by_numpy() -> BlasInfo | None:
    """Load NumPy's OpenBLAS for MLX, if this NumPy has one."""
    folder = private_compile_cache()
    library = None if folder is None else numpy_blas.load_numpy_blas(folder)
    vendor = _vendor(library)
    if library is None or vendor is None:
        return None
    path = _file_of(getattr(library, vendor.set_threads))
    return BlasInfo(vendor.name, path, library=library)


def _preloaded() -> BlasInfo | None:
    """The BLAS that is already global in this process, if any."""
    process = ctypes.CDLL(None)
    return _describe(process) if hasattr(process, "cblas_sgemm") else None


def _describe(library: ctypes.CDLL) -> BlasInfo:
    path = _file_of(library.cblas_sgemm)
    vendor = _vendor(library)
    name = vendor.name if vendor else path.name if path else "unknown"
    return BlasInfo(name, path, library=library)


def _vendor(library: ctypes.CDLL | None) -> _Vendor | None:
    for vendor in _VENDORS:
        if library is not None and hasattr(library, vendor.set_threads):
            return vendor
    return None


class _DlInfo(ctypes.Structure):
    """`Dl_info` of <dlfcn.h>."""

    _fields_ = (
        ("file", ctypes.c_char_p),
        ("base", ctypes.c_void_p),
        ("symbol", ctypes.c_char_p),
        ("address", ctypes.c_void_p),
    )


def _file_of(function: Any) -> Path | None:
    """The library file of a C function."""
    info = _DlInfo()
    dladdr = ctypes.CDLL(None).dladdr
    dladdr.argtypes = [ctypes.c_void_p, ctypes.POINTER(_DlInfo)]
    dladdr.restype = ctypes.c_int
    found = dladdr(ctypes.cast(function, ctypes.c_void_p), ctypes.byref(info))
    return Path(os.fsdecode(info.file)) if found and info.file else None


def _is_site(entry: str) -> bool:
    return Path(entry).name in {"site-packages", "dist-packages"} and os.sep in entry


def _remedy() -> str:
    debian = "`apt-get install libopenblas0-pthread` (or your system's OpenBLAS)"
    if platform.machine() == "x86_64":
        return f"run `pip install mkl` or {debian}"
    return f"run {debian}"


def _slow(remedy: str) -> BlasInfo:
    return BlasInfo("reference", fast=False, remedy=remedy)
