"""The one place for differences between machines.

Nothing in here imports mlx before it must: `prepare()` has to run before the first
`import mlx.core`, and does nothing on macOS. The packages whose modules import MLX call
it when they are imported, so that only what computes changes the process.
"""

from __future__ import annotations

from mlpeft.platform.blas import (
    VARIABLE as BLAS_VARIABLE,
)
from mlpeft.platform.blas import (
    BlasInfo,
    BlasWarning,
    blas_threads,
    compute_threads,
    load_blas,
    one_blas_thread,
    set_blas_threads,
)
from mlpeft.platform.compile_cache import (
    compile_notice,
    compiler_for_compile,
    private_compile_cache,
)
from mlpeft.platform.machine import (
    BaseChoice,
    BaseDtype,
    Machine,
    available_memory_bytes,
    best_base_dtype,
    cache_folder,
    describe_machine,
    keep_freed_memory,
    peak_memory_bytes,
    share_freed_memory,
    total_memory_bytes,
)
from mlpeft.platform.process import wait_for_thread_end
from mlpeft.platform.wakefulness import NoSleepGuard, SleepGuard, wakefulness

__all__ = [
    "BLAS_VARIABLE",
    "BaseChoice",
    "BaseDtype",
    "BlasInfo",
    "BlasWarning",
    "Machine",
    "NoSleepGuard",
    "SleepGuard",
    "available_memory_bytes",
    "best_base_dtype",
    "blas_threads",
    "cache_folder",
    "compile_notice",
    "compiler_for_compile",
    "compute_threads",
    "describe_machine",
    "keep_freed_memory",
    "load_blas",
    "one_blas_thread",
    "peak_memory_bytes",
    "prepare",
    "private_compile_cache",
    "set_blas_threads",
    "share_freed_memory",
    "total_memory_bytes",
    "wait_for_thread_end",
    "wakefulness",
]


def prepare() -> BlasInfo:
    """Prepare this process for MLX; call it before the first `import mlx.core`.

    On Linux it loads a fast BLAS, moves MLX's cache of compiled kernels to a private
    folder, compiles kernels for this processor and keeps freed memory. It does nothing
    on macOS. A second call changes nothing.

    Returns:
        The BLAS that MLX's matrix products run on.
    """
    private_compile_cache()
    keep_freed_memory()
    return load_blas()
