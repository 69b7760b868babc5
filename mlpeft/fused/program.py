"""A function of arrays as one native call."""

from __future__ import annotations

import ctypes
import functools
import sys
import threading
import weakref
from _ctypes import dlclose
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from mlpeft.fused.compiler import load
from mlpeft.fused.emit import ALIGNMENT, MOST_THREADS, emit
from mlpeft.fused.graph import Unsupported, trace
from mlpeft.fused.schedule import Schedule
from mlpeft.fused.simplify import simplified
from mlpeft.platform import load_blas, one_blas_thread

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import mlx.core as mx

    from mlpeft.fused.graph import Shape

_DTYPES = {"bool": np.bool_}


class Argument(NamedTuple):
    """What a program takes or gives for one task.

    Attributes:
        shape: Of one task.
        dtype: NumPy's.
    """

    shape: Shape
    dtype: np.dtype


class Call(NamedTuple):
    """A program that runs for some tasks.

    Attributes:
        run: `(first, end, threads)`: computes the tasks from `first` to before `end`,
            which follow those before.
        outputs: What it gives; whole when all have been computed.
        inputs: Its arguments, which live as long.
    """

    run: Callable[..., None]
    outputs: list[np.ndarray]
    inputs: Sequence[np.ndarray]


class _Room:
    """Memory of some threads beside arguments and results.

    Args:
        threads: How many.
        leaves: What is summed over tasks: a thread has one of each.
        scratch_bytes: Of a thread, a multiple of `ALIGNMENT`.
    """

    def __init__(
        self, threads: int, leaves: Sequence[Argument], scratch_bytes: int
    ) -> None:
        self.threads = threads
        self._scratch = np.empty(threads * scratch_bytes + ALIGNMENT, np.uint8)
        start = self._scratch.ctypes.data
        self.scratch_at = ctypes.c_void_p(start + -start % ALIGNMENT)
        self._spare = [
            np.empty(leaf.shape, np.float32) for _ in range(threads) for leaf in leaves
        ]
        self.spare_at = _addresses(self._spare)


class Program:
    """A compiled function of one task's arrays, for any number of tasks at once.

    A call releases the interpreter's lock, reads its arguments where they are and
    writes results where they stay. It may compute tasks in several threads, which
    changes no bits: what is summed is summed in the tasks' order, and a product of the
    BLAS library has one thread. Calls from several threads run one after the other.

    Args:
        function: Takes arrays and returns a tuple of arrays.
        examples: Arguments of one task: their shapes and dtypes count.
        summed: Tells after tracing how many of the results, from the first on, are
            added up over tasks in their order; they are float32. The others are
            returned for each task.

    Raises:
        Unsupported: If something in it is not known here.
        CompilerFailed: If this machine cannot compile it.
    """

    def __init__(
        self,
        function: Callable[..., Sequence[mx.array]],
        examples: Sequence[mx.array],
        summed: Callable[[], int] = lambda: 0,
    ) -> None:
        graph = simplified(trace(function, *examples))
        self._summed = many = summed()
        schedule = Schedule(graph, blas=sgemm_address() is not None)
        source = emit(schedule, len(graph.inputs))
        self.takes = [Argument(v.shape, _numpy(v.dtype)) for v in graph.inputs]
        self.gives = [Argument(v.shape, _numpy(v.dtype)) for v in graph.outputs]
        if any(one.dtype != np.float32 for one in self.gives[:many]):
            raise Unsupported("what is summed over tasks is not float32")
        library = load(source.text)
        # ctypes never unloads one, and a run may meet thousands of shapes.
        weakref.finalize(self, dlclose, library._handle).atexit = False  # noqa: SLF001
        library.set_sgemm(ctypes.c_void_p(sgemm_address()))
        self._run, self._iterate = library.run, library.iterate
        self._run.restype = self._iterate.restype = None
        self._constants = schedule.constants
        self._lock = threading.Lock()
        self._source = source._replace(text="")
        self._room = _Room(0, [], source.scratch_bytes)
        sizes = [_bytes(one) for one in self.gives]
        self._sizes = (ctypes.c_long * max(len(sizes), 1))(*sizes)
        self._steps: dict[tuple[bool, ...], ctypes.Array[ctypes.c_long]] = {}

    @staticmethod
    def check(
        function: Callable[..., Sequence[mx.array]], examples: Sequence[mx.array]
    ) -> None:
        """Whether it could be compiled, without compiling it.

        Args:
            function: As above, like the other.
            examples: Arguments of one task.

        Raises:
            Unsupported: If not.
        """
        emit(Schedule(simplified(trace(function, *examples))), len(examples))

    def __call__(
        self, inputs: Sequence[np.ndarray], shared: tuple[bool, ...], tasks: int = 1
    ) -> list[np.ndarray]:
        """Run it for some tasks.

        Args:
            inputs: Arguments in C order; those of all tasks have an axis in front.
            shared: For each, whether all tasks have the same, without that axis.
            tasks: How many.

        Returns:
            The results that are summed; of the others those of each task.
        """
        call = self.begin(inputs, shared, tasks)
        call.run(0, tasks)
        return call.outputs

    def begin(
        self, inputs: Sequence[np.ndarray], shared: tuple[bool, ...], tasks: int
    ) -> Call:
        """Prepare to run it for some tasks, some of them at a time.

        Args:
            inputs: As in a call, like the others.
            shared: Which of them.
            tasks: How many in all.
        """
        outputs = [
            np.empty(one.shape if n < self._summed else (tasks, *one.shape), one.dtype)
            for n, one in enumerate(self.gives)
        ]
        arguments = (
            _addresses([*inputs, *self._constants]),
            self._bytes_to_next(shared),
            _addresses(outputs),
        )

        def run(first: int, end: int, threads: int = 1) -> None:
            self._native(self._run, (first, end), threads, arguments)

        return Call(run, outputs, inputs)

    def _native(
        self,
        function: Any,
        first: Sequence[int | ctypes.c_void_p],
        threads: int,
        arguments: Sequence[object],
    ) -> None:
        """Call a function of the library: what is first, threads, arguments, room."""
        threads = max(1, min(threads, MOST_THREADS))
        numbers = [ctypes.c_long(n) if isinstance(n, int) else n for n in first]
        with self._lock, one_blas_thread(needed=self._source.calls_blas):
            if threads > self._room.threads:
                leaves = self.gives[: self._summed]
                self._room = _Room(threads, leaves, self._source.scratch_bytes)
            function(
                *numbers,
                ctypes.c_long(threads),
                *arguments,
                self._sizes,
                ctypes.c_long(self._summed),
                self._room.spare_at,
                self._room.scratch_at,
            )

    def iterate(
        self,
        inputs: Sequence[np.ndarray],
        shared: tuple[bool, ...],
        lrs: np.ndarray,
        *,
        from_theta: bool,
        threads: int = 1,
    ) -> tuple[list[np.ndarray], list[np.ndarray], np.ndarray]:
        """Several outer steps, each with the results of the next tasks.

        `theta <- theta - lr g`, g being the mean of what is summed, or with
        `from_theta` theta less that mean.

        Args:
            inputs: As in a call; the first are theta, one for each result that is
                summed, and stay as they are. Tasks are those of all meta-iterations.
            shared: As in a call.
            lrs: (meta-iterations,) step sizes, float32.
            from_theta: Which of the two.
            threads: In which the tasks of a step are computed.

        Returns:
            Theta at the end, the other results for each task, and the Euclidean norm of
            each step.
        """
        many, turns = self._summed, len(lrs)
        tasks = len(inputs[shared.index(False)]) // turns
        theta = [array.copy() for array in inputs[:many]]
        totals = [np.empty(one.shape, np.float32) for one in self.gives[:many]]
        each = [
            np.empty((turns * tasks, *one.shape), one.dtype)
            for one in self.gives[many:]
        ]
        moved = np.empty(turns, np.float64)
        arguments = (
            _addresses([*theta, *inputs[many:], *self._constants]),
            self._bytes_to_next(shared),
            _addresses([*totals, *each]),
        )
        first = (turns, _address(lrs), int(from_theta), _address(moved), tasks)
        self._native(self._iterate, first, threads, arguments)
        return theta, each, moved

    def _bytes_to_next(self, shared: tuple[bool, ...]) -> ctypes.Array[ctypes.c_long]:
        """For each argument and constant, from one task's to the next's."""
        if shared in self._steps:
            return self._steps[shared]
        steps = [
            0 if same else _bytes(one)
            for same, one in zip(shared, self.takes, strict=True)
        ]
        steps += [0] * len(self._constants)
        found = (ctypes.c_long * max(len(steps), 1))(*steps)
        self._steps[shared] = found
        return found


@functools.cache
def sgemm_address() -> int | None:
    """The address of `cblas_sgemm` in the BLAS that MLX uses; None: there is none."""
    if sys.platform == "darwin":
        library = ctypes.CDLL(
            "/System/Library/Frameworks/Accelerate.framework/Accelerate"
        )
    elif load_blas().fast:
        library = ctypes.CDLL(None)
    else:
        return None
    function = getattr(library, "cblas_sgemm", None)
    return None if function is None else ctypes.cast(function, ctypes.c_void_p).value


def _numpy(dtype: str) -> np.dtype:
    return np.dtype(_DTYPES.get(dtype, dtype))


def _bytes(argument: Argument) -> int:
    return int(np.prod(argument.shape, dtype=np.int64)) * argument.dtype.itemsize


def _address(array: np.ndarray) -> ctypes.c_void_p:
    return ctypes.c_void_p(array.__array_interface__["data"][0])


def _addresses(arrays: Sequence[np.ndarray]) -> ctypes.Array[ctypes.c_void_p]:
    """Where arrays are, as C's array of pointers."""
    kind = ctypes.c_void_p * max(len(arrays), 1)
    return kind(*(array.__array_interface__["data"][0] for array in arrays))
