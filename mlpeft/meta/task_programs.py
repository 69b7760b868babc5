"""Inner loops as native code: one program for all tasks of a shard.

The strategy `fused`. A function of one task's arrays is compiled once for each shape;
all of its steps, queries and the algorithm's own part are then one call for all tasks.
Each task is computed by itself, and what is summed is summed in their order, so bits do
not depend on which tasks are computed together, nor in how many threads.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from time import perf_counter
from typing import TYPE_CHECKING, NamedTuple, TypeAlias
from weakref import WeakSet

import mlx.core as mx
import numpy as np

from mlpeft.fused import Program, Unsupported
from mlpeft.meta.support import Batch, Examples, PreparedSupport
from mlpeft.models.ops.compiled import MOST_SHAPES
from mlpeft.models.ops.transforms import plain_forms
from mlpeft.platform import compute_threads

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from mlpeft.meta.functional import Functional
    from mlpeft.meta.inner import InnerLoop
    from mlpeft.meta.support import StepInput, SupportPlan
    from mlpeft.params import Array, MlxTree, NumpyTree

    TaskFunction: TypeAlias = Callable[..., "TaskResult"]
    """`(theta, state, support, query, *others)` of one task's arrays."""

_DOUBLE = np.dtype(np.float64)
LONG_CALL_S = 0.2
"""Seconds that a call should take at most, so that it can be interrupted."""
MANY_SIZES = 8
"""Sizes whose compilation is nothing to talk about."""
THREADS_FROM_S = 0.0005
"""Seconds of work from which a call starts threads, which costs some 0.00005 each."""


_told: WeakSet[Functional] = WeakSet()
"""Models that were found to meet many sizes."""
log = logging.getLogger("mlpeft.compute")


class TaskData(NamedTuple):
    """One task, before anything is computed.

    Attributes:
        support: What its inner steps see.
        query: Inputs and labels of the queries, NumPy; None: there are none.
    """

    support: SupportPlan
    query: tuple[np.ndarray, np.ndarray] | None


class TaskResult(NamedTuple):
    """What a function gives for one task.

    Attributes:
        summed: Arrays that are summed over tasks, by name.
        each: Arrays that every task has of its own.
    """

    summed: MlxTree
    each: tuple[mx.array, ...]


class ShardResult(NamedTuple):
    """What it gives for a shard.

    Attributes:
        summed: Sums over tasks, in their order.
        each: (tasks, ...) each.
    """

    summed: NumpyTree
    each: list[np.ndarray]


class Iterated(NamedTuple):
    """What several meta-iterations came to.

    Attributes:
        theta: After the last.
        each: (meta-iterations tasks, ...) each: arrays that every task has of its own.
        moved: (meta-iterations,) Euclidean norms of theta's changes.
    """

    theta: NumpyTree
    each: list[np.ndarray]
    moved: np.ndarray


@dataclass(slots=True)
class _Compiled:
    """A program, the names of what it sums, and how long a task takes if it is known.

    Attributes:
        task_s: Seconds of a thread; it decides no bits.
    """

    program: Program
    names: list[str]
    task_s: float = 0.0

    def threads(self, tasks: int) -> int:
        """In how many threads to compute some tasks."""
        worth = self.task_s * tasks >= THREADS_FROM_S
        return min(compute_threads(), tasks) if worth else 1

    def many(self, threads: int) -> int:
        """Tasks of a call that is not too long; the first one takes the time of one."""
        return max(threads, int(threads * LONG_CALL_S / self.task_s))

    def run(
        self,
        inputs: Sequence[np.ndarray],
        shared: tuple[bool, ...],
        tasks: int,
        progress: Callable[[int], None],
    ) -> list[np.ndarray]:
        """Compute some tasks; `progress` is told how many are done."""
        call = self.program.begin(inputs, shared, tasks)
        done = 0
        while done < tasks:
            threads, many = 1, 1
            if self.task_s:
                threads = self.threads(tasks - done)
                many = min(self.many(threads), tasks - done)
            begun = perf_counter()
            call.run(done, done + many, threads)
            self.task_s = max((perf_counter() - begun) * threads / many, 1e-9)
            done += many
            progress(done)
        return call.outputs


class TaskPrograms:
    """A function of one task, compiled for each shape of its arguments.

    Of more than `MOST_SHAPES` programs those used longest ago are dropped. That a shape
    cannot be compiled is remembered likewise, as finding it out takes a tracing.

    Args:
        functional: The model; what it prepares outside of the graph is not taken.
        inner: Settings of the inner loop.
        function: Of one task.
        most_compiled: Programs after which the next is `Unsupported`, as each takes a
            second to compile; None: no limit, where bits must not depend on what this
            process computed before.
    """

    def __init__(
        self,
        functional: Functional,
        inner: InnerLoop,
        function: TaskFunction,
        most_compiled: int | None = None,
    ) -> None:
        self._functional = functional
        self._inner = inner
        self._function = function
        self._most_compiled = most_compiled
        self._times_compiled = 0
        self._compiled: dict[object, _Compiled | Unsupported] = {}

    def __call__(
        self,
        theta: Mapping[str, Array],
        state: Mapping[str, Array],
        tasks: Sequence[TaskData],
        others: Sequence[Array] = (),
        progress: Callable[[int], None] = lambda _: None,
    ) -> ShardResult:
        """Compute some tasks.

        Args:
            theta: Meta-parameters; the same for all.
            state: Carried inner state; likewise.
            tasks: At least one.
            others: Further arguments; likewise.
            progress: Called with the number of tasks done whenever some are; it may
                raise to drop the rest.

        Raises:
            Unsupported: If the function cannot be compiled.
        """
        shared = [_native(a) for a in (*theta.values(), *state.values(), *others)]
        own = [_arrays(task) for task in tasks]
        groups = [own] if _alike(own) else [[one] for one in own]
        done, result = 0, None
        for group in groups:
            before = done

            def tell(many: int, before: int = before) -> None:
                progress(before + many)

            example = tasks[done]
            part = self._run(tuple(theta), tuple(state), shared, group, example, tell)
            result = part if result is None else _joined(result, part)
            done += len(group)
        if result is None:
            raise AssertionError
        return result

    def iterate(
        self,
        theta: Mapping[str, Array],
        tasks: Sequence[TaskData],
        lrs: np.ndarray,
        *,
        from_theta: bool,
    ) -> Iterated | None:
        """Several meta-iterations of gradient descent in one call.

        Args:
            theta: Meta-parameters to begin with.
            tasks: Those of all meta-iterations, as many of each.
            lrs: (meta-iterations,) outer step sizes, float32.
            from_theta: Whether the step is towards what the tasks give, as Reptile's,
                in place of against it.

        Returns:
            None: the tasks are not alike, or more than theta is summed over them.

        Raises:
            Unsupported: If the function cannot be compiled.
        """
        shared = [_native(leaf) for leaf in theta.values()]
        own = [_arrays(task) for task in tasks]
        if not _alike(own):
            return None
        names = tuple(theta)
        compiled = self._for(names, (), shared, own[0], tasks[0])
        if tuple(compiled.names) != names:
            return None
        # Arrays of one shape and type: np.stack gives the same, slowly.
        columns = map(np.array, zip(*own, strict=True))
        flags = (True,) * len(shared) + (False,) * len(own[0])
        size = len(tasks) // len(lrs)
        threads = compiled.threads(size)
        begun = perf_counter()
        leaves, each, moved = compiled.program.iterate(
            [*shared, *columns], flags, lrs, from_theta=from_theta, threads=threads
        )
        compiled.task_s = (perf_counter() - begun) * threads / len(tasks)
        return Iterated(dict(zip(names, leaves, strict=True)), each, moved)

    def _run(
        self,
        theta: tuple[str, ...],
        state: tuple[str, ...],
        shared: list[np.ndarray],
        group: list[list[np.ndarray]],
        example: TaskData,
        progress: Callable[[int], None],
    ) -> ShardResult:
        """Compute tasks whose arrays are alike."""
        first = group[0]
        compiled = self._for(theta, state, shared, first, example)
        # Arrays of one shape and type: np.stack gives the same, slowly.
        columns = first if len(group) == 1 else map(np.array, zip(*group, strict=True))
        flags = (True,) * len(shared) + (False,) * len(first)
        outputs = compiled.run([*shared, *columns], flags, len(group), progress)
        names = compiled.names
        summed = dict(zip(names, outputs, strict=False))
        return ShardResult(summed, outputs[len(names) :])

    def _for(
        self,
        theta: tuple[str, ...],
        state: tuple[str, ...],
        shared: list[np.ndarray],
        own: list[np.ndarray],
        example: TaskData,
    ) -> _Compiled:
        """The program for arguments like these."""
        key = (theta, state, _kinds(shared), _kinds(own), _steps(example.support))
        found = self._compiled.pop(key, None)
        if found is None:
            if self._times_compiled == self._most_compiled:
                raise Unsupported(
                    f"episodes had more than {self._times_compiled} sizes, and each "
                    "takes a second to compile"
                )
            try:
                examples = [*shared, *own]
                found = self._compile(theta, state, examples, len(shared), example)
                self._count()
            except Unsupported as error:
                found = error.with_traceback(None)  # which would keep the graph
        self._compiled[key] = found  # the last one: used most recently
        if len(self._compiled) > MOST_SHAPES:
            self._compiled.pop(next(iter(self._compiled)), None)
        if isinstance(found, Unsupported):
            raise Unsupported(*found.args)
        return found

    def _count(self) -> None:
        """Count what was compiled; of a model that needs many, say so once."""
        self._times_compiled += 1
        if self._times_compiled > MANY_SIZES and self._functional not in _told:
            _told.add(self._functional)
            log.warning(
                "fused inner loops were compiled for %d sizes of episodes, about a "
                "second each, and more may follow: give episodes one size (as many "
                "examples, padded to one length), or set compute.strategy: compiled",
                self._times_compiled,
            )

    def _compile(
        self,
        theta: tuple[str, ...],
        state: tuple[str, ...],
        examples: list[np.ndarray],
        shared: int,
        task: TaskData,
    ) -> _Compiled:
        """Trace the function and compile it."""
        names: list[str] = []
        flat = self._flat(theta, state, shared, task, names)
        with plain_forms():
            examples_ = [mx.array(one) for one in examples]
            program = Program(flat, examples_, summed=lambda: len(names))
        return _Compiled(program, names)

    def check(
        self,
        theta: Mapping[str, Array],
        state: Mapping[str, Array],
        task: TaskData,
        others: Sequence[Array] = (),
    ) -> None:
        """Whether a task could be computed, without compiling anything.

        Args:
            theta: As in a call, like the others.
            state: Carried inner state.
            task: One of them.
            others: Further arguments.

        Raises:
            Unsupported: If not.
        """
        shared = [_native(a) for a in (*theta.values(), *state.values(), *others)]
        flat = self._flat(tuple(theta), tuple(state), len(shared), task, [])
        with plain_forms():
            Program.check(flat, [mx.array(one) for one in (*shared, *_arrays(task))])

    def _flat(
        self,
        theta: tuple[str, ...],
        state: tuple[str, ...],
        shared: int,
        task: TaskData,
        names: list[str],
    ) -> Callable[..., tuple[mx.array, ...]]:
        """The function of flat arguments; tracing it puts what it sums into `names`."""
        if self._functional.prepares:
            raise Unsupported("the model prepares its inputs outside of the graph")

        def flat(*arrays: mx.array) -> tuple[mx.array, ...]:
            common, own = arrays[:shared], arrays[shared:]
            trees = dict(zip(theta, common, strict=False))
            carried = dict(zip(state, common[len(theta) :], strict=False))
            others = common[len(theta) + len(state) :]
            support, query = _rebuilt(own, task, self._inner)
            result = self._function(trees, carried, support, query, *others)
            names[:] = result.summed
            return (*result.summed.values(), *result.each)

        return flat


def _arrays(task: TaskData) -> list[np.ndarray]:
    """A task's arrays, in the order of `_rebuilt`."""
    plan = task.support
    arrays = [plan.x, plan.y]
    if plan.order is not None and not plan.in_order:
        arrays += [plan.x[plan.order.ravel()], plan.y[plan.order.ravel()]]
    if plan.keys is not None:
        arrays.append(plan.keys)
    arrays += task.query or ()
    return [_native(one) for one in arrays]


def _rebuilt(
    arrays: Sequence[mx.array], task: TaskData, inner: InnerLoop
) -> tuple[PreparedSupport, Examples | None]:
    """What the arrays of a task like this one are of."""
    plan, remaining = task.support, list(arrays)
    whole = remaining.pop(0), remaining.pop(0)
    seen = whole
    steps, size = 1, len(plan.x)
    if plan.order is not None:
        steps, size = plan.order.shape
        if not plan.in_order:
            seen = remaining.pop(0), remaining.pop(0)
    keys = None if plan.keys is None else remaining.pop(0)
    batches = []
    for start in range(0, steps * size, size):
        x, y = (part[start : start + size] for part in seen)
        batches.append(Batch(_parts(x, inner.micro_batch), y))
    query = None if task.query is None else Examples(*remaining)
    return PreparedSupport(Examples(*whole), batches, keys), query


def _parts(x: mx.array, micro_batch: int | None) -> StepInput:
    """The inputs of a step; a list of them if it has several micro-batches."""
    if micro_batch is None or micro_batch >= len(x):
        return x
    return [x[i : i + micro_batch] for i in range(0, len(x), micro_batch)]


def _steps(plan: SupportPlan) -> tuple[int, ...] | None:
    return None if plan.order is None else plan.order.shape


def _native(array: Array) -> np.ndarray:
    """As MLX would take it, in C order."""
    found: np.ndarray = np.asarray(array, order="C")
    return found.astype(np.float32) if found.dtype == _DOUBLE else found


def _kinds(arrays: Sequence[np.ndarray]) -> tuple[object, ...]:
    return tuple((array.shape, array.dtype) for array in arrays)


def _alike(own: Sequence[Sequence[np.ndarray]]) -> bool:
    """Whether the tasks' arrays can be stacked."""
    kinds = _kinds(own[0])
    return all(_kinds(one) == kinds for one in own[1:])


def _joined(first: ShardResult, second: ShardResult) -> ShardResult:
    """The results of tasks and of those after them."""
    summed = {name: leaf + second.summed[name] for name, leaf in first.summed.items()}
    pairs = zip(first.each, second.each, strict=True)
    return ShardResult(summed, [np.concatenate(pair) for pair in pairs])
