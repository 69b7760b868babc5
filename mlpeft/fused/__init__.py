"""Functions of arrays compiled into one native call, on the CPU.

MLX runs a queue entry for each primitive, which costs microseconds; the inner loop of a
small network has hundreds of primitives that compute for less. Here MLX tells the graph
of such a function (`graph`), which is simplified (`simplify`), ordered into kernels
(`schedule`, with the C of each in `loops` and `products`), written as C (`emit`),
compiled and kept (`compiler`), and called without the interpreter's lock (`program`).
`primitives` is the table of what is known. Whatever is not raises `Unsupported`, with a
reason, and the caller goes another way, as everybody with the same function does. A
machine that cannot compile what others can raises `CompilerFailed`.
"""

from mlpeft.platform import prepare

prepare()  # before any module in here imports mlx.core

from mlpeft.fused.compiler import Compiler, NoCompiler, find_compiler  # noqa: E402
from mlpeft.fused.graph import CompilerFailed, Unsupported  # noqa: E402
from mlpeft.fused.program import Program  # noqa: E402

__all__ = [
    "Compiler",
    "CompilerFailed",
    "NoCompiler",
    "Program",
    "Unsupported",
    "find_compiler",
]
