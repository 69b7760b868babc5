"""Scores queries along the way of an inner loop."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import mlx.core as mx
import numpy as np

from mlpeft.meta.dropout import step_keys
from mlpeft.meta.inner import grad_step
from mlpeft.models.losses import accuracy
from mlpeft.models.pretrained.loss_positions import at_loss_positions

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from mlpeft.meta.functional import Functional
    from mlpeft.meta.inner import InnerLoop
    from mlpeft.meta.strategies import StrategyName
    from mlpeft.params import ParamTree
    from mlpeft.tasks.episode import Episode


class Scorer:
    """Adapts to episodes step by step and scores their queries at some of the steps.

    One step and one scoring are compiled, not the whole loop: evaluation takes ten
    times as many steps as training, and code grows with them.

    Args:
        functional: The model and its loss.
        inner: Settings of the inner loop at evaluation.
        strategy: "loop" leaves it uncompiled; "vmap" takes all episodes at once.
        transductive: Whether the queries of an episode share a batch. If not, each
            query is classified alone, in a batch with the support set.
    """

    def __init__(
        self,
        functional: Functional,
        inner: InnerLoop,
        strategy: StrategyName,
        *,
        transductive: bool,
    ) -> None:
        self.functional = functional
        self.inner = inner
        self.strategy: StrategyName = strategy
        self.alone = functional.uses_batch_statistics and not transductive
        self._functions: dict[tuple[str, bool], Callable[..., Any]] = {}

    def __call__(
        self,
        theta: ParamTree,
        state: ParamTree,
        episodes: Sequence[Episode],
        make_rngs: Sequence[Callable[[], np.random.Generator]],
        steps: Sequence[int],
        progress: Callable[[int], None] = lambda _: None,
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """Loss (tasks, steps) and accuracy (tasks, steps), None for regression.

        `progress` is called as that of `InnerLoops`.
        """
        shapes = {tuple(np.shape(part) for part in episode) for episode in episodes}
        if self.strategy == "vmap" and len(shapes) == 1:
            columns = [np.stack(column) for column in zip(*episodes, strict=True)]
            scores = self._adapt(
                theta, state, columns, make_rngs, steps, vectorised=True
            )
            progress(len(episodes))
            return scores[0].T, None if scores[1] is None else scores[1].T
        rows = []
        for episode, make_rng in zip(episodes, make_rngs, strict=True):
            row = self._adapt(
                theta, state, list(episode), [make_rng], steps, vectorised=False
            )
            rows.append(row)
            progress(len(rows))
        loss = np.stack([row[0] for row in rows])
        if rows[0][1] is None:
            return loss, None
        return loss, np.stack([row[1] for row in rows if row[1] is not None])

    def _adapt(
        self,
        theta: ParamTree,
        state: ParamTree,
        arrays: list[np.ndarray],
        make_rngs: Sequence[Callable[[], np.random.Generator]],
        steps: Sequence[int],
        *,
        vectorised: bool,
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """Loss and accuracy, (steps,) or with a second axis of tasks if vectorised."""
        support_x, support_y, query_x, query_y = (np.asarray(a) for a in arrays)
        size = support_x.shape[1 if vectorised else 0]
        inner = replace(self.inner, num_steps=max(*steps, 1))
        orders = [inner.batches(size, make_rng) for make_rng in make_rngs]
        keys = None
        if self.functional.dropouts:
            drawn = np.stack([step_keys(inner.num_steps, make) for make in make_rngs])
            keys = mx.array(drawn if vectorised else drawn[0])
        take = _as_it_is if vectorised or self.alone else self.functional.prepare
        sx, sy = take(support_x, support_y), mx.array(support_y)
        step_inputs = self._step_inputs(take, vectorised=vectorised)
        every_x = sx if step_inputs is take else step_inputs(support_x, support_y)
        qx, qy = take(query_x, query_y), mx.array(query_y)
        params, state = self._start(theta, state, len(make_rngs), vectorised=vectorised)
        if self.functional.starts_episodes:
            own = self._begin(vectorised)(params, sx, sy)
            params = params | own
            state = self.inner.make_optimizer().init(own) | state
        step, score = self._step(vectorised), self._score(vectorised)
        scored = []
        for number in range(max(steps) + 1):
            if number in steps:
                scored.append(score(params, sx, sy, qx, qy))
                mx.async_eval(scored[-1])
            if number == max(steps):
                break
            x, y = every_x, sy
            if orders[0] is not None:
                picked = np.stack(
                    [order[number] for order in orders if order is not None]
                )
                if vectorised:
                    rows = np.arange(len(picked))[:, None]
                    x, y = (
                        mx.array(support_x[rows, picked]),
                        mx.array(support_y[rows, picked]),
                    )
                else:
                    some = support_y[picked[0]]
                    x, y = step_inputs(support_x[picked[0]], some), mx.array(some)
            key: tuple[mx.array, ...] = ()
            if keys is not None:
                key = (keys[:, number] if vectorised else keys[number],)
            params, state = step(params, state, x, y, *key)
            mx.async_eval(params, state)
        loss = np.stack([np.asarray(one[0]) for one in scored])
        if len(scored[0]) == 1:
            return loss, None
        return loss, np.stack([np.asarray(one[1]) for one in scored])

    def _step_inputs(
        self, take: Callable[..., Any], *, vectorised: bool
    ) -> Callable[..., Any]:
        """How the examples of a step become its inputs; `take` if all at once."""
        micro_batch = self.inner.micro_batch
        if micro_batch is None or vectorised:
            return take
        return partial(self.functional.prepare_step, micro_batch=micro_batch)

    def _start(
        self, theta: ParamTree, state: ParamTree, tasks: int, *, vectorised: bool
    ) -> tuple[ParamTree, ParamTree]:
        """Parameters and optimiser state before the first step, one a task."""
        state = state or self.inner.make_optimizer().init(theta)
        state = {name: mx.array(leaf, dtype=mx.float32) for name, leaf in state.items()}
        if not vectorised:
            return theta, state

        def spread(tree: ParamTree) -> ParamTree:
            return {k: mx.broadcast_to(v, (tasks, *v.shape)) for k, v in tree.items()}

        return spread(theta), spread(state)

    def _begin(self, vectorised: bool) -> Callable[..., Any]:
        """`(theta, sx, sy) -> leaves` that an episode starts with beside theta."""

        def begin(theta: ParamTree, x: Any, y: mx.array) -> ParamTree:
            with self.functional.installed():
                return self.functional.episode_leaves(theta, x, y)

        return self._function("begin", begin, vectorised)

    def _step(self, vectorised: bool) -> Callable[..., Any]:
        """`(params, state, x, y, [key]) -> (params, state)` after one inner step."""

        def step(
            params: ParamTree,
            state: ParamTree,
            x: Any,
            y: mx.array,
            *key: mx.array,
        ) -> tuple[ParamTree, ParamTree]:
            with self.functional.installed():
                return grad_step(
                    self.functional, self.inner, params, state, x, y, *key
                )[:2]

        return self._function("step", step, vectorised)

    def _score(self, vectorised: bool) -> Callable[..., Any]:
        """`(params, sx, sy, qx, qy) -> (loss,)` or `(loss, acc)`."""

        def score(
            params: ParamTree,
            support_x: Any,
            support_y: mx.array,  # noqa: ARG001 - one signature for all
            query_x: Any,
            query_y: mx.array,
        ) -> tuple[mx.array, ...]:
            with self.functional.installed():
                outputs = self._predict(params, support_x, query_x)
            query_y = at_loss_positions(query_y, query_x)
            loss = self.functional.loss_fn(outputs, query_y)
            if mx.issubdtype(query_y.dtype, mx.floating):
                return (loss,)
            return loss, accuracy(outputs, query_y)

        return self._function("score", score, vectorised)

    def _predict(self, params: ParamTree, support_x: Any, query_x: Any) -> mx.array:
        if not self.alone:
            return self.functional.predict(params, query_x)

        def one(query: mx.array) -> mx.array:
            batch = mx.concatenate([support_x, query[None]])
            return self.functional.predict(params, batch)[-1]

        return mx.stack([one(query_x[i]) for i in range(query_x.shape[0])])

    def _function(
        self, name: str, function: Callable[..., Any], vectorised: bool
    ) -> Callable[..., Any]:
        key = (name, vectorised)
        if key not in self._functions:
            if vectorised:
                function = mx.vmap(function)
            self._functions[key] = (
                function if self.strategy == "loop" else mx.compile(function)
            )
        return self._functions[key]


def _as_it_is(x: np.ndarray, _y: np.ndarray) -> mx.array:
    return mx.array(x)
