"""Four ways to run the inner loops of a shard, with one result.

loop      each operation is dispatched as Python meets it: slow, easy to debug
compiled  one compiled inner loop, called task by task
vmap      one compiled call for all tasks of the shard, vectorised over them
fused     one native call for all tasks, see `mlpeft.fused`; on the CPU

vmap pays for small multilayer perceptrons, where an operation costs more to start than
to compute, and fused pays more; convolutions gain from fused alone, transformers from
neither.
The results agree to float32 rounding, and each strategy repeats its own bits.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias

import mlx.core as mx
import mlx.nn as nn
import numpy as np

from mlpeft.errors import ShapeError
from mlpeft.fused import NoCompiler, find_compiler
from mlpeft.meta import norm_statistics
from mlpeft.meta.dropout import Dropouts
from mlpeft.meta.imaml import Proximal
from mlpeft.meta.inner import batch_gradients, inner_loop, last
from mlpeft.meta.maml import meta_gradient
from mlpeft.meta.reptile_serial import after_task
from mlpeft.meta.state import join, split
from mlpeft.meta.support import Examples, PreparedSupport, SupportPlan, as_arrays
from mlpeft.meta.task_axis import AllTasks, OneTask
from mlpeft.meta.task_programs import TaskPrograms, TaskResult
from mlpeft.models.batch_norms import BatchNormed
from mlpeft.models.ops.compiled import compiled
from mlpeft.work import Displacement

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from mlpeft.meta.algorithms import Algorithm
    from mlpeft.meta.functional import Functional
    from mlpeft.meta.inner import InnerLoop
    from mlpeft.meta.task_axis import TaskAxis
    from mlpeft.meta.task_programs import Iterated, TaskData
    from mlpeft.params import Array, MlxTree, ParamTree

StrategyName: TypeAlias = Literal["loop", "compiled", "vmap", "fused"]


class Course(NamedTuple):
    """What of a task's work follows the meta-iteration.

    Attributes:
        outer_lr: Step size of theta; serial Reptile takes its steps within a shard.
        loss_weights: Weights (num_steps,) of the queries' loss after each inner step;
            None: only the last counts.
    """

    outer_lr: float = 1.0
    loss_weights: np.ndarray | None = None

    def arguments(self) -> tuple[mx.array, ...]:
        """What inner loops take of it."""
        weights = self.loss_weights
        return () if weights is None else (mx.array(weights),)


class LoopResult(NamedTuple):
    """What the inner loops of a shard give.

    Attributes:
        total: Sum over tasks, in order, of what each returns.
        state: Sum over tasks of the inner optimiser's state and of the statistics of
            batch norms; {} unless carried.
        support_loss: (tasks,) loss of the last inner step's examples, before it.
        query_loss: (tasks,) loss of the queries after adaptation; zeros without.
    """

    total: ParamTree
    state: ParamTree
    support_loss: Array
    query_loss: Array


if TYPE_CHECKING:
    InnerLoopFunction: TypeAlias = Callable[..., LoopResult]
    """`(theta, state, support, query)` of one task, or of all tasks at once; and what
    `Course.arguments` gives."""


def choose_strategy(model: nn.Module, *, plain: bool = True) -> StrategyName:
    """Fused where every parameter belongs to a linear layer or to a block of Conv4.

    Where fused cannot be had, vmap for linear layers alone; else compiled. A rule and
    not a measurement, so that a run makes the same choice, and with it the same bits,
    each time. Fused needs a C compiler, and does not know the masks of dropout.

    Args:
        model: Any module.
        plain: Whether its gradients are computed without what cannot be vectorised.
    """
    small = plain and _consists_of(model, nn.Linear, BatchNormed)
    if small and not Dropouts(model) and fused_problem() is None:
        return "fused"
    return without_fused(model, plain=plain)


def without_fused(model: nn.Module, *, plain: bool = True) -> StrategyName:
    """As `choose_strategy`, where fused cannot be had."""
    return "vmap" if plain and is_linear(model) else "compiled"


def is_linear(model: nn.Module) -> bool:
    """Whether every parameter belongs to a linear layer.

    A call for a task of such a model costs as much as what it computes, so tasks are
    computed together where they can be.
    """
    return _consists_of(model, nn.Linear)


def fused_problem() -> str | None:
    """Why this machine cannot run the strategy fused; None: it can."""
    compiler = find_compiler()
    return compiler.reason if isinstance(compiler, NoCompiler) else None


def _consists_of(model: nn.Module, *kinds: type[nn.Module]) -> bool:
    """Whether there are parameters, and all belong to layers of these kinds."""
    owners = [module for module in model.modules() if _own_arrays(module)]
    return bool(owners) and all(isinstance(module, kinds) for module in owners)


def _own_arrays(module: nn.Module) -> bool:
    """Whether a module holds parameters itself, not only through its children."""
    return any(isinstance(value, mx.array) for value in dict(module).values())


class InnerLoops:
    """Runs the inner loops of a shard with one strategy.

    Args:
        functional: The model and its loss.
        inner: Settings of the inner loop.
        strategy: How to run them.
        algorithm: What a task returns.
        most_compiled: See `TaskPrograms`.
    """

    def __init__(
        self,
        functional: Functional,
        inner: InnerLoop,
        strategy: StrategyName,
        algorithm: Algorithm,
        most_compiled: int | None = None,
    ) -> None:
        self.functional = functional
        self.inner = inner
        self.algorithm = algorithm
        self.strategy = strategy
        build = self._build_gradient if algorithm.only_gradient else self._build
        one = build(OneTask())
        self._fused = TaskPrograms(
            functional, inner, partial(_task_result, one), most_compiled
        )
        self._one = one if strategy == "loop" else compiled(one)
        self._all = build(AllTasks())
        if strategy != "loop":
            self._all = compiled(self._all)

    @property
    def takes_second_derivatives(self) -> bool:
        """Whether gradients of gradients are needed."""
        through = self.algorithm.through_steps and not self.inner.first_order
        return through or isinstance(self.functional.adaptation, Proximal)

    def __call__(
        self,
        theta: MlxTree,
        state: ParamTree,
        tasks: Sequence[TaskData],
        progress: Callable[[int], None] = lambda _: None,
        course: Course = Course(),  # noqa: B008 - it is immutable
    ) -> LoopResult:
        """Adapt theta to each task; the result is evaluated.

        Args:
            theta: Meta-parameters, MLX leaves.
            state: Carried inner state; {}: fresh.
            tasks: At least one.
            progress: Called with the number of tasks done whenever one is; it may raise
                to drop the rest. Under vmap all tasks are done at once.
            course: What follows the meta-iteration.
        """
        if self.algorithm.needs_queries and tasks[0].query is None:
            raise ShapeError(
                "this algorithm learns from queries, and the episodes have none; set "
                "task_distribution.train_query_size, or take algorithm reptile"
            )
        if self.strategy == "fused":
            return self._natively(theta, state, tasks, progress, course)
        together = self.strategy == "vmap" and not self.algorithm.serial
        if together and _same_shapes(tasks):
            result = self._all(theta, state, *_stacked(tasks), *course.arguments())
            mx.eval(result)
            progress(len(tasks))
            return result
        total: MlxTree = {}
        carried: MlxTree = {}
        losses: list[tuple[mx.array, mx.array]] = []
        for task in tasks:
            result = self._one(theta, state, *self._prepared(task), *course.arguments())
            if self.algorithm.serial:
                theta = after_task(theta, result.total, course.outer_lr)
                state = result.state
                total = {k: leaf * len(tasks) for k, leaf in theta.items()}
                carried = {k: leaf * len(tasks) for k, leaf in state.items()}
            elif losses:
                total = {k: leaf + result.total[k] for k, leaf in total.items()}
                carried = {k: leaf + result.state[k] for k, leaf in carried.items()}
            else:
                total, carried = result.total, result.state
            losses.append((result.support_loss, result.query_loss))
            # Evaluated task by task: one is done, and its graph can go.
            mx.eval(total, carried, losses[-1])
            progress(len(losses))
        support, query_losses = zip(*losses, strict=True)
        return LoopResult(
            total, carried, mx.stack(list(support)), mx.stack(list(query_losses))
        )

    def iterate(
        self, theta: ParamTree, tasks: Sequence[TaskData], lrs: np.ndarray
    ) -> Iterated | None:
        """Several meta-iterations in one native call, see `TaskPrograms.iterate`.

        None: not with this strategy or algorithm.
        """
        algorithm = self.algorithm
        if self.strategy != "fused" or algorithm.serial or self.inner.carries:
            return None
        from_theta = algorithm.displacement is Displacement.FROM_THETA
        return self._fused.iterate(theta, tasks, lrs, from_theta=from_theta)

    def check_fused(
        self, theta: ParamTree, state: ParamTree, task: TaskData, course: Course
    ) -> None:
        """Whether a task's inner loop could be native code, see `TaskPrograms.check`.

        Raises:
            Unsupported: If not.
        """
        weights = [] if course.loss_weights is None else [course.loss_weights]
        self._fused.check(theta, state, task, weights)

    def _natively(
        self,
        theta: MlxTree,
        state: ParamTree,
        tasks: Sequence[TaskData],
        progress: Callable[[int], None],
        course: Course,
    ) -> LoopResult:
        """The tasks in one native call, or one by one where each moves theta."""
        weights = [] if course.loss_weights is None else [course.loss_weights]
        if not self.algorithm.serial:
            found = self._fused(theta, state, tasks, weights, progress)
            return LoopResult(*split(found.summed), *found.each)
        many, losses = len(tasks), []
        for number, task in enumerate(tasks, 1):
            found = self._fused(theta, state, [task], weights)
            adapted, state = split(found.summed)
            theta = after_task(theta, adapted, course.outer_lr)
            losses.append(found.each)
            progress(number)
        support, query = (np.concatenate(part) for part in zip(*losses, strict=True))
        theta, state = (
            {name: leaf * many for name, leaf in tree.items()}
            for tree in (theta, state)
        )
        return LoopResult(theta, state, support, query)

    def _prepared(self, task: TaskData) -> tuple[PreparedSupport, Examples | None]:
        """One task as the model takes it."""
        prepare = self.functional.prepare
        plan, micro_batch = task.support, self.inner.micro_batch
        support = PreparedSupport.of(plan, prepare, micro_batch).at_once()
        if task.query is None:
            return support, None
        return support, Examples(prepare(*task.query), mx.array(task.query[1]))

    def _build(self, axis: TaskAxis) -> InnerLoopFunction:
        """The inner loop of one task's arrays, or of all tasks' at once."""
        functional, inner = self.functional, self.inner
        task_gradient = self.algorithm.task_gradient

        def run(
            theta: MlxTree,
            state: ParamTree,
            support: PreparedSupport,
            query: Examples | None,
        ) -> LoopResult:
            tasks = len(support.whole.y)
            moments, statistics = norm_statistics.split(state)
            with functional.installed():
                iterates = inner_loop(functional, inner, theta, moments, support, axis)
                begun = functional.adaptation.begin(theta)
                if statistics:
                    iterates = iter(path := list(iterates))
                    statistics = norm_statistics.moved(
                        functional, statistics, path, support, query, axis, begun
                    )
                end = last(iterates)
                adapted = axis.spread(end.params, begun, tasks)
                losses = {"support": end.loss, "query": mx.zeros_like(end.loss)}
                # An episode's own leaves are for this episode only.
                total = {name: adapted[name] for name in theta}
                if task_gradient is not None:
                    gradient = partial(task_gradient, functional, tuple(theta))
                    losses["query"], total = axis.map(gradient)(
                        adapted, tuple(support.whole), tuple(query or ())
                    )
                elif query is not None:
                    losses["query"] = axis.map(functional.loss)(adapted, *query)
            # Without a step there is one loss, 0, and no axis.
            losses = axis.spread(losses, dict.fromkeys(losses, mx.array(0.0)), tasks)
            carried = {}
            if inner.carries:
                carried = {k: end.state[k] for k in moments if k in end.state}
            return LoopResult(
                axis.total(total, theta, tasks),
                axis.total(carried | statistics, state, tasks),
                losses["support"],
                losses["query"],
            )

        return self._build_through(axis) if self.algorithm.through_steps else run

    def _build_gradient(self, axis: TaskAxis) -> InnerLoopFunction:
        """Likewise, where a task takes no step: the gradient of its batch at theta."""
        functional, inner = self.functional, self.inner

        def run(
            theta: MlxTree,
            state: ParamTree,
            support: PreparedSupport,
            query: Examples | None,  # noqa: ARG001 - as where steps are taken
        ) -> LoopResult:
            one = partial(batch_gradients, functional, inner)
            (batch,) = support.steps(1)
            tasks = len(support.whole.y)
            with functional.installed():
                loss, gradient = axis.gradients(one, theta)(theta, *batch)
                spread = axis.spread(theta, theta, tasks)
                statistics = norm_statistics.moved_by(
                    functional, norm_statistics.split(state)[1], spread, batch, axis
                )
            return LoopResult(
                axis.total(gradient, theta, tasks),
                axis.total(statistics, state, tasks),
                loss,
                mx.zeros_like(loss),
            )

        return run

    def _build_through(self, axis: TaskAxis) -> InnerLoopFunction:
        """Likewise, where a task returns the gradient through its steps."""
        functional, inner = self.functional, self.inner

        def run(
            theta: MlxTree,
            state: ParamTree,
            support: PreparedSupport,
            query: Examples | None,
            weights: mx.array | None = None,
        ) -> LoopResult:
            if query is None:
                raise AssertionError
            with functional.installed():
                found = meta_gradient(
                    functional, inner, theta, state, support, query, axis, weights
                )
            losses = {"support": found.support_loss, "query": found.query_loss}
            # Without a step there is one support loss, 0, and no axis.
            shared = dict.fromkeys(losses, mx.array(0.0))
            losses = axis.spread(losses, shared, len(support.whole.y))
            return LoopResult(
                found.total,
                axis.total(found.statistics, state, len(support.whole.y)),
                losses["support"],
                losses["query"],
            )

        return run


def _task_result(run: InnerLoopFunction, *arguments: Any) -> TaskResult:
    """What an inner loop gives, for `TaskPrograms`."""
    found = run(*arguments)
    summed = join(found.total, found.state)
    return TaskResult(summed, (found.support_loss, found.query_loss))


def _stacked(tasks: Sequence[TaskData]) -> tuple[PreparedSupport, Examples | None]:
    """All tasks side by side."""
    plan = SupportPlan.stack([task.support for task in tasks])
    support = PreparedSupport.of(plan, as_arrays).at_once()
    queries = [task.query for task in tasks if task.query is not None]
    if not queries:
        return support, None
    x, y = (mx.array(np.stack(column)) for column in zip(*queries, strict=True))
    return support, Examples(x, y)


def _same_shapes(tasks: Sequence[TaskData]) -> bool:
    """Whether the tasks' arrays can be stacked."""
    shapes = [
        [array.shape for array in (task.support.x, task.support.y, *(task.query or ()))]
        for task in tasks
    ]
    return all(shape == shapes[0] for shape in shapes[1:])
