"""Scores queries along the way of an inner loop."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, NamedTuple, TypeAlias, cast

import mlx.core as mx
import numpy as np

from mlpeft.meta import norm_statistics
from mlpeft.meta.inner import Iterate, batch_gradients, grad_step, inner_steps
from mlpeft.meta.support import Examples, PreparedSupport, SupportPlan, as_arrays
from mlpeft.meta.task_axis import AllTasks, OneTask
from mlpeft.meta.task_programs import TaskData, TaskPrograms, TaskResult
from mlpeft.models.losses import accuracy, calibration_sums
from mlpeft.models.ops.compiled import compiled
from mlpeft.models.pretrained.loss_positions import at_loss_positions

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from mlpeft.meta.functional import Functional, ModelInput
    from mlpeft.meta.inner import InnerLoop
    from mlpeft.meta.optimizers import InnerOptimizer
    from mlpeft.meta.strategies import StrategyName
    from mlpeft.meta.support import Batch
    from mlpeft.meta.task_axis import TaskAxis
    from mlpeft.params import MlxTree, ParamTree
    from mlpeft.tasks.episode import Episode

    Point: TypeAlias = tuple[MlxTree, ParamTree]
    """Parameters and optimiser state: an iterate whose loss nobody asks for."""
    Scores: TypeAlias = tuple[np.ndarray, np.ndarray | None, np.ndarray | None]
    """Loss, accuracy (None for regression) and calibration (None unless asked for)."""


class _Functions(NamedTuple):
    """What is compiled, for one task's arrays or for all tasks' at once.

    Attributes:
        axis: Which of the two.
        begin: `(theta, x, y, norms) -> leaves` that episodes start with beside theta.
        step: `(params, state, batch) -> (params, state)` after one inner step.
        score: `(params, norms, support_x, query_x, query_y) -> (loss,)`, `(loss, acc)`
            or `(loss, acc, calibration)`. Here as above, `norms` are the statistics
            that batch norms take in place of the batch's; {}: none.
    """

    axis: TaskAxis
    begin: Callable[..., MlxTree]
    step: Callable[[MlxTree, ParamTree, Batch], Point]
    score: Callable[..., tuple[mx.array, ...]]


class Scorer:
    """Adapts to episodes step by step and scores their queries at some of the steps.

    One step and one scoring are compiled, not the whole loop: evaluation takes ten
    times as many steps as training, and code grows with them.

    Args:
        functional: The model and its loss.
        inner: Settings of the inner loop at evaluation.
        strategy: "loop" leaves it uncompiled; "vmap" takes all episodes at once, and
            "fused" has each episode's loop with its scorings in one native call.
        transductive: Whether the queries of an episode share a batch. If not, each
            query is classified alone, in a batch with the support set. It matters only
            where the state has no statistics of batch norms.
        most_compiled: See `TaskPrograms`.
    """

    takes_second_derivatives = False

    def __init__(
        self,
        functional: Functional,
        inner: InnerLoop,
        strategy: StrategyName,
        *,
        transductive: bool,
        most_compiled: int | None = None,
    ) -> None:
        self._most_compiled = most_compiled
        self.functional = functional
        self.inner = inner
        self.strategy: StrategyName = strategy
        self.alone = functional.uses_batch_statistics and not transductive
        self.calibrated = False
        self._prepare()

    def _prepare(self) -> None:
        """Nothing is compiled yet."""
        self._one = self._functions(OneTask())
        self._all = self._functions(AllTasks())
        self._programs: dict[tuple[int, ...], TaskPrograms] = {}

    def calibrate(self) -> None:
        """From now on, sum up the calibration of classifications as well."""
        if not self.calibrated:
            self.calibrated = True
            self._prepare()  # what was compiled before returns less

    def __call__(
        self,
        theta: MlxTree,
        state: ParamTree,
        episodes: Sequence[Episode],
        make_rngs: Sequence[Callable[[], np.random.Generator]],
        steps: Sequence[int],
        progress: Callable[[int], None] = lambda _: None,
    ) -> Scores:
        """Loss (tasks, steps), accuracy (tasks, steps) and calibration sums.

        Accuracy is None for regression. Calibration is (tasks, steps, 3, bins), or None
        unless `calibrate` was called and these are classes.

        `progress` is called as that of `InnerLoops`.
        """
        inner = replace(self.inner, num_steps=max(steps))
        dropout = bool(self.functional.dropouts)
        plans = [
            SupportPlan.draw(inner, *episode[:2], make_rng, dropout=dropout)
            for episode, make_rng in zip(episodes, make_rngs, strict=True)
        ]
        if self.strategy == "fused":
            queries = [(np.asarray(e.query_x), np.asarray(e.query_y)) for e in episodes]
            tasks = [TaskData(*pair) for pair in zip(plans, queries, strict=True)]
            return self._natively(theta, state, tasks, tuple(steps), progress)
        shapes = {tuple(np.shape(part) for part in episode) for episode in episodes}
        if self.strategy == "vmap" and len(shapes) == 1:
            support = PreparedSupport.of(SupportPlan.stack(plans), as_arrays)
            columns = zip(*(episode[2:] for episode in episodes), strict=True)
            query = Examples(*(mx.array(np.stack(column)) for column in columns))
            scores = self._scores(self._all, theta, state, support, query, steps)
            progress(len(episodes))
            first, *others = (
                None if part is None else part.swapaxes(0, 1) for part in scores
            )
            return cast("Scores", (first, *others))
        rows = []
        for plan, episode in zip(plans, episodes, strict=True):
            support, query = self._prepared(plan, *map(np.asarray, episode[2:]))
            row = self._scores(self._one, theta, state, support, query, steps)
            rows.append(row)
            progress(len(rows))
        stacked = [
            None if column[0] is None else np.stack(cast("list[np.ndarray]", column))
            for column in zip(*rows, strict=True)
        ]
        return cast("Scores", tuple(stacked))

    def _natively(
        self,
        theta: MlxTree,
        state: ParamTree,
        tasks: Sequence[TaskData],
        steps: tuple[int, ...],
        progress: Callable[[int], None],
    ) -> Scores:
        """All episodes in native calls, see `TaskPrograms`."""
        programs = self._programs.get(steps)
        if programs is None:
            along = partial(self._along, self._functions(OneTask(), plain=True), steps)
            programs = TaskPrograms(
                self.functional, self.inner, along, self._most_compiled
            )
            self._programs[steps] = programs
        found = programs(theta, state, tasks, (), progress).each
        kinds = len(found) // len(steps)
        columns = [np.stack(found[kind::kinds], axis=1) for kind in range(kinds)]
        return cast("Scores", (*columns, *[None] * (3 - kinds)))

    def _along(
        self,
        functions: _Functions,
        steps: tuple[int, ...],
        theta: MlxTree,
        state: ParamTree,
        support: PreparedSupport,
        query: Examples,
    ) -> TaskResult:
        """One episode's scores after each of some steps, one after the other."""
        scored = self._scored(functions, theta, state, support, query, steps)
        return TaskResult({}, tuple(part for scores in scored for part in scores))

    def _prepared(
        self, plan: SupportPlan, query_x: np.ndarray, query_y: np.ndarray
    ) -> tuple[PreparedSupport, Examples]:
        """One task as the model takes it; a query that is put to it alone as it is."""
        prepare = as_arrays if self.alone else self.functional.prepare
        support = PreparedSupport.of(plan, prepare, self.inner.micro_batch)
        return support, Examples(prepare(query_x, query_y), mx.array(query_y))

    def _scores(
        self,
        functions: _Functions,
        theta: MlxTree,
        state: ParamTree,
        support: PreparedSupport,
        query: Examples,
        steps: Sequence[int],
    ) -> Scores:
        """As in `__call__`, (steps, ...) or with a second axis of tasks."""
        scored = self._scored(
            functions, theta, state, support, query, steps, mx.async_eval
        )
        columns = [
            np.stack([np.asarray(part) for part in column])
            for column in zip(*scored, strict=True)
        ]
        missing = [None] * (3 - len(columns))
        return cast("Scores", (*columns, *missing))

    def _scored(
        self,
        functions: _Functions,
        theta: MlxTree,
        state: ParamTree,
        support: PreparedSupport,
        query: Examples,
        steps: Sequence[int],
        found: Callable[..., None] = lambda *_: None,
    ) -> list[tuple[mx.array, ...]]:
        """Scores after each of some steps; `found` is told what there is so far."""
        moments, statistics = norm_statistics.split(state)
        norms = [norm_statistics.at_step(statistics, k) for k in range(max(steps) + 1)]

        def step(point: Point, batch: Batch) -> Point:
            return functions.step(*point, batch)

        start = self._start(functions, theta, moments, support.whole, norms[0])
        points = inner_steps(step, start, support.steps(max(steps)))
        scored = []
        for number, (params, inner_state) in enumerate(points):
            found(params, inner_state)
            if number in steps:
                support_x = support.whole.x
                one = functions.score(params, norms[number], support_x, *query)
                scored.append(one)
                found(one)
        return scored

    def _start(
        self,
        functions: _Functions,
        theta: MlxTree,
        moments: ParamTree,
        support: Examples,
        norms: MlxTree,
    ) -> Point:
        """Parameters and optimiser state before the first step.

        All are arrays and have the axis of tasks, if there is one, as after each step:
        so what is compiled serves for all steps.
        """
        tasks = len(support.y)
        theta_ = self.functional.adaptation.begin(theta)
        params = functions.axis.spread(theta_, theta_, tasks)
        if self.functional.starts_episodes:
            params = params | functions.begin(params, *support, norms)
        optimizer = self._optimizer()
        fresh = optimizer.init(params)
        arrays = {name: mx.array(leaf) for name, leaf in (fresh | moments).items()}
        for name, leaf in fresh.items():
            if isinstance(leaf, mx.array):
                arrays[name] = mx.broadcast_to(arrays[name], leaf.shape)
        return params, arrays

    def _optimizer(self) -> InnerOptimizer:
        plain = self.inner.make_optimizer()
        return self.functional.adaptation.optimizer(plain)

    def _functions(self, axis: TaskAxis, *, plain: bool = False) -> _Functions:
        """The functions for one task's arrays, or for all tasks' at once.

        Args:
            axis: Which of the two.
            plain: Whether to leave them uncompiled.
        """
        functional = self.functional
        optimizer = self._optimizer()
        gradients = axis.gradients(partial(batch_gradients, functional, self.inner), {})

        def begin(
            theta: MlxTree, x: ModelInput, y: mx.array, norms: MlxTree
        ) -> MlxTree:
            with functional.installed(), functional.norms.normalising(norms):
                return axis.map(functional.episode_leaves)(theta, x, y)

        def step(params: MlxTree, state: ParamTree, batch: Batch) -> Point:
            start = Iterate(params, state, mx.array(0.0))
            with functional.installed():
                return grad_step(gradients, optimizer, start, batch)[:2]

        def score(
            params: MlxTree, norms: MlxTree, support_x: ModelInput, *query: ModelInput
        ) -> tuple[mx.array, ...]:
            score_one = partial(self._score, alone=self.alone and not norms)
            with functional.installed(), functional.norms.normalising(norms):
                return axis.map(score_one)(params, support_x, *query)

        if plain or self.strategy == "loop":
            return _Functions(axis, begin, step, score)
        return _Functions(axis, compiled(begin), compiled(step), compiled(score))

    def _score(
        self,
        params: MlxTree,
        support_x: ModelInput,
        query_x: ModelInput,
        query_y: mx.array,
        *,
        alone: bool,
    ) -> tuple[mx.array, ...]:
        """Loss and, of classes, accuracy of one task's queries."""
        outputs = self._predict(params, support_x, query_x, alone=alone)
        query_y = at_loss_positions(query_y, query_x)
        loss = self.functional.loss_of(outputs, query_y)
        if mx.issubdtype(query_y.dtype, mx.floating):
            return (loss,)
        if self.calibrated and outputs.ndim == 2:
            sums = calibration_sums(outputs, query_y)
            return loss, accuracy(outputs, query_y), sums
        return loss, accuracy(outputs, query_y)

    def _predict(
        self,
        params: MlxTree,
        support_x: ModelInput,
        query_x: ModelInput,
        *,
        alone: bool,
    ) -> mx.array:
        if not alone:
            return self.functional.predict(params, query_x)

        companions, queries = cast("tuple[mx.array, mx.array]", (support_x, query_x))

        def outputs_of(query: mx.array) -> mx.array:
            batch = mx.concatenate([companions, query[None]])
            return self.functional.predict(params, batch)[-1]

        return mx.stack([outputs_of(queries[i]) for i in range(len(queries))])

    def predictions(
        self,
        theta: MlxTree,
        state: ParamTree,
        episode: Episode,
        make_rng: Callable[[], np.random.Generator],
        steps: int,
    ) -> np.ndarray:
        """The class of each query of an episode after some inner steps, (queries,)."""
        inner = replace(self.inner, num_steps=steps)
        dropout = bool(self.functional.dropouts)
        plan = SupportPlan.draw(inner, *episode[:2], make_rng, dropout=dropout)
        support, query = self._prepared(plan, *map(np.asarray, episode[2:]))
        moments, statistics = norm_statistics.split(state)
        norms = [norm_statistics.at_step(statistics, k) for k in range(steps + 1)]
        point = self._start(self._one, theta, moments, support.whole, norms[0])
        for batch in support.steps(steps):
            point = self._one.step(*point, batch)
        alone = self.alone and not statistics
        functional = self.functional
        with functional.installed(), functional.norms.normalising(norms[-1]):
            outputs = self._predict(point[0], support.whole.x, query.x, alone=alone)
        return np.asarray(mx.argmax(outputs, axis=-1))
