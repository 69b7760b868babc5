"""Three ways to run the inner loops of a shard, with one result.

loop      each operation is dispatched as Python meets it: slow, easy to debug
compiled  one compiled inner loop, called task by task
vmap      one compiled call for all tasks of the shard, vectorised over them

vmap pays for small multilayer perceptrons, where an operation costs more to start than
to compute; convolutions and transformers gain nothing from it. The results agree to
float32 rounding, and each strategy repeats its own bits.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias

import mlx.core as mx
import mlx.nn as nn
import numpy as np

from mlpeft.errors import ShapeError
from mlpeft.meta.inner import adapt, whole_support

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from mlpeft.meta.algorithms import Algorithm
    from mlpeft.meta.functional import Functional
    from mlpeft.meta.inner import InnerLoop
    from mlpeft.params import Array, ParamTree

StrategyName: TypeAlias = Literal["loop", "compiled", "vmap"]

TaskArrays: TypeAlias = "tuple[Array, ...]"
"""One task: support_x, support_y, and where there are queries query_x, query_y. With
inner batches the support arrays are (num_steps, batch, ...), else (n, ...)."""


class LoopResult(NamedTuple):
    """What the inner loops of a shard give.

    Attributes:
        total: Sum over tasks, in order, of what each returns.
        state: Sum over tasks of the inner optimiser's state; {} unless carried.
        support_loss: (tasks,) loss of the last inner step's examples, before it.
        query_loss: (tasks,) loss of the queries after adaptation; zeros without.
    """

    total: ParamTree
    state: ParamTree
    support_loss: mx.array
    query_loss: mx.array


def choose_strategy(model: nn.Module, *, plain: bool = True) -> StrategyName:
    """Vmap where every parameter belongs to a linear layer, else compiled.

    A rule and not a measurement, so that a run makes the same choice, and with it the
    same bits, each time.

    Args:
        model: Any module.
        plain: Whether its gradients are computed without what cannot be vectorised.
    """
    owners = [module for module in model.modules() if _own_arrays(module)]
    linear = all(isinstance(module, nn.Linear) for module in owners)
    return "vmap" if plain and owners and linear else "compiled"


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
    """

    def __init__(
        self,
        functional: Functional,
        inner: InnerLoop,
        strategy: StrategyName,
        algorithm: Algorithm,
    ) -> None:
        self.functional = functional
        self.inner = inner
        self.algorithm = algorithm
        self.strategy = strategy
        self._functions: dict[tuple[bool, bool, bool], Callable[..., LoopResult]] = {}

    def __call__(
        self,
        theta: ParamTree,
        state: ParamTree,
        tasks: Sequence[TaskArrays],
        keys: np.ndarray | None,
        *,
        batched: bool,
        progress: Callable[[int], None] = lambda _: None,
    ) -> LoopResult:
        """Adapt theta to each task; the result is evaluated.

        Args:
            theta: Meta-parameters, MLX leaves.
            state: Carried inner state; {}: fresh.
            tasks: At least one.
            keys: (tasks, num_steps, 2) for dropout; None: there is none.
            batched: Whether each inner step has a batch of its own.
            progress: Called with the number of tasks done whenever one is; it may raise
                to drop the rest. Under vmap all tasks are done at once.
        """
        query = len(tasks[0]) == 4
        if self.algorithm.task_gradient is not None and not query:
            raise ShapeError(
                "this algorithm learns from queries, and the episodes have none; set "
                "task_distribution.train_query_size, or take algorithm reptile"
            )
        if self.strategy == "vmap" and _same_shapes(tasks):
            run = self._function(vectorised=True, batched=batched, query=query)
            columns = [
                mx.array(np.stack(column)) for column in zip(*tasks, strict=True)
            ]
            drawn = None if keys is None else mx.array(keys)
            result = run(theta, state, drawn, None, *columns)
            mx.eval(result)
            progress(len(tasks))
            return result
        run = self._function(vectorised=False, batched=batched, query=query)
        total: ParamTree = {}
        carried: ParamTree = {}
        losses: list[tuple[mx.array, mx.array]] = []
        for number, task in enumerate(tasks):
            drawn = None if keys is None else mx.array(keys[number])
            result = run(theta, state, drawn, *self._arrays(task, batched))
            if losses:
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

    def _function(
        self, *, vectorised: bool, batched: bool, query: bool
    ) -> Callable[..., LoopResult]:
        """The inner loop for arrays of one kind, built once."""
        key = (vectorised, batched, query)
        if key not in self._functions:
            self._functions[key] = self._build(*key)
        return self._functions[key]

    def _arrays(self, task: TaskArrays, batched: bool) -> tuple[Any, ...]:
        """A task as the compiled function takes it: `start_x` of `adapt` first."""
        functional, micro_batch = self.functional, self.inner.micro_batch
        support_x, support_y, *query = task
        queries = [functional.prepare(*query), mx.array(query[1])] if query else []
        labels = mx.array(support_y)
        prepares = functional.prepares or functional.picks
        if micro_batch is None and not (batched and prepares):
            return None, functional.prepare(support_x, support_y), labels, *queries
        step = partial(functional.prepare_step, micro_batch=micro_batch)
        x, y = np.asarray(support_x), np.asarray(support_y)
        if not batched:
            return functional.prepare(x, y), step(x, y), labels, *queries
        start_x = functional.prepare(x.reshape(-1, *x.shape[2:]))
        steps = [step(*batch) for batch in zip(x, y, strict=True)]
        return start_x, steps, labels, *queries

    def _build(
        self, vectorised: bool, batched: bool, query: bool
    ) -> Callable[..., LoopResult]:
        def inner_loops(
            theta: ParamTree,
            state: ParamTree,
            keys: mx.array | None,
            start_x: Any,
            *arrays: Any,
        ) -> tuple[ParamTree, ParamTree, mx.array, mx.array]:
            adapted, new_state, support_loss = adapt(
                self.functional,
                self.inner,
                theta,
                state,
                arrays[0],
                arrays[1],
                batched=batched,
                vectorised=vectorised,
                start_x=start_x,
                keys=keys,
            )
            if not self.inner.carries:
                new_state = {}
            query_loss = mx.zeros_like(support_loss)
            # An episode's own leaves are for this episode only.
            total = {name: adapted[name] for name in theta}
            new_state = {name: new_state[name] for name in state if name in new_state}
            if self.algorithm.task_gradient is not None:
                support = whole_support(
                    arrays[0],
                    arrays[1],
                    start_x,
                    batched=batched,
                    vectorised=vectorised,
                )
                gradient: Callable[..., Any] = partial(
                    self.algorithm.task_gradient, self.functional, tuple(theta)
                )
                if vectorised:
                    gradient = mx.vmap(gradient)
                with self.functional.installed():
                    query_loss, total = gradient(adapted, support, arrays[2:])
            elif query:
                loss: Callable[..., mx.array] = self.functional.loss
                if vectorised:
                    loss = mx.vmap(loss, in_axes=(0, 0, 0))
                with self.functional.installed():
                    query_loss = loss(adapted, arrays[2], arrays[3])
            if vectorised:
                total = _sum_over_tasks(total, theta, len(arrays[1]))
                new_state = _sum_over_tasks(new_state, state, len(arrays[1]))
            return total, new_state, support_loss, query_loss

        run = inner_loops if self.strategy == "loop" else mx.compile(inner_loops)
        return lambda *args: LoopResult(*run(*args))


def _sum_over_tasks(tree: ParamTree, start: ParamTree, tasks: int) -> ParamTree:
    """Sum over the axis of tasks, which a leaf has got since the start if it has one.

    Adam's count of steps has none: it is the same for all tasks.
    """
    return {
        name: mx.sum(leaf, axis=0) if leaf.ndim > start[name].ndim else leaf * tasks
        for name, leaf in tree.items()
    }


def _same_shapes(tasks: Sequence[TaskArrays]) -> bool:
    """Whether the tasks' arrays can be stacked."""
    shapes = [[array.shape for array in task] for task in tasks]
    return all(shape == shapes[0] for shape in shapes[1:])
