"""Adapts to and scores the tasks of a shard: the core behind learner and worker."""

from __future__ import annotations

import logging
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

import mlx.core as mx
import numpy as np

from mlpeft.config.learning import INNER_STEPS
from mlpeft.errors import ConfigError, MlpeftError, ShapeError
from mlpeft.fused import CompilerFailed, Unsupported
from mlpeft.meta.algorithms import ALGORITHMS
from mlpeft.meta.head_scoring import HeadScorer
from mlpeft.meta.missing_gradients import without_gradient
from mlpeft.meta.scoring import Scorer
from mlpeft.meta.state import join, split, without_head
from mlpeft.meta.strategies import (
    Course,
    InnerLoops,
    choose_strategy,
    fused_problem,
    without_fused,
)
from mlpeft.meta.support import SupportPlan
from mlpeft.meta.task_programs import TaskData
from mlpeft.models.losses import mse_loss

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import mlx.nn as nn

    from mlpeft.config.algorithms import AlgorithmName
    from mlpeft.config.learning import HeadName
    from mlpeft.meta.functional import LossFn
    from mlpeft.meta.inner import InnerLoop
    from mlpeft.meta.strategies import StrategyName
    from mlpeft.meta.task_programs import Iterated
    from mlpeft.params import Array, MlxTree, NumpyTree
    from mlpeft.tasks.episode import Episode

    RngOf: TypeAlias = Callable[[int], np.random.Generator]

logger = logging.getLogger(__name__)

LOST_KERNEL = "Could not load C++ shared library"
"""In MLX's words: a compiler that was killed, or a library that was damaged."""
MOST_LOST_KERNELS = 3
"""Failures of the compiler after which an engine gives up."""


class ShardTrainResult(NamedTuple):
    """Sum over a shard's tasks, and what was seen on the way.

    Attributes:
        total: Sum over tasks of what each returns, NumPy float32 leaves.
        support_loss: (tasks,).
        query_loss: (tasks,), or None if the episodes have no queries.
    """

    total: NumpyTree
    support_loss: np.ndarray
    query_loss: np.ndarray | None


class ShardScores(NamedTuple):
    """Queries of a shard's tasks, scored after some inner steps.

    Attributes:
        loss: (tasks, len(steps)).
        acc: (tasks, len(steps)), or None for regression.
        calibration: (tasks, len(steps), 3, bins), see `calibration_sums`; None unless
            `Engine.calibrate` was called and these are classes.
    """

    loss: np.ndarray
    acc: np.ndarray | None
    calibration: np.ndarray | None = None


class Engine:
    """One model, one loss, one inner loop.

    Args:
        model: Any `mlx.nn.Module`; restored after every call.
        loss_fn: `(outputs, targets) -> scalar`.
        inner: The inner loop of training.
        strategy: How inner loops run; None: by `choose_strategy`.
        algorithm: What a task returns.
        eval_inner: The inner loop of evaluation; None: that of training.
        transductive: Whether the queries of an episode share a batch (it matters to
            models that use batch statistics).
        gradient_checkpointing: Whether layers are computed again for gradients rather
            than kept; not under vmap.
        head: What classifies at evaluation.
        label_names: Whether support sets end with the names of their classes; heads
            other than inner_steps never hold these out.
        most_compiled: Sizes of episodes that fused inner loops are compiled for, before
            another strategy goes on; None: all.
        keeps_strategy: Whether what cannot be had as native code is told by an
            `Unsupported`, and not computed with another strategy from then on.

    Attributes:
        strategy: How training runs.
        otherwise: How it runs where `fused` cannot be had.

    Raises:
        ConfigError: If these do not go together, or with this model.
    """

    def __init__(
        self,
        model: nn.Module,
        loss_fn: LossFn,
        inner: InnerLoop,
        strategy: StrategyName | None = None,
        algorithm: AlgorithmName = "reptile",
        eval_inner: InnerLoop | None = None,
        *,
        transductive: bool = True,
        gradient_checkpointing: bool = False,
        head: HeadName = INNER_STEPS,
        label_names: bool = False,
        most_compiled: int | None = None,
        keeps_strategy: bool = False,
    ) -> None:
        algorithm_ = ALGORITHMS[algorithm]
        self.eval_inner = eval_inner or inner
        self.inner = replace(inner, num_steps=1) if algorithm_.only_gradient else inner
        sparing = {
            "compute.gradient_checkpointing": gradient_checkpointing,
            "meta_learning.inner_micro_batch": inner.micro_batch is not None,
        }
        plain = not any(sparing.values())
        self.strategy: StrategyName = strategy or choose_strategy(model, plain=plain)
        self.otherwise = without_fused(model, plain=plain)
        self._keeps_strategy = keeps_strategy
        if self.strategy == "fused" and (problem := fused_problem()):
            self._warn_not_fused(problem)
            self.strategy = self.otherwise
        for name, on in sparing.items():
            if on and self.strategy == "vmap":
                raise ConfigError(
                    f"{name} does not go with compute.strategy vmap, which has all "
                    "tasks in memory at once; take auto or compiled"
                )
        functional = algorithm_.functional(
            model,
            loss_fn,
            gradient_checkpointing=gradient_checkpointing,
            adaptation=inner.adaptation,
        )
        if inner.adaptation.metric and loss_fn is mse_loss:
            raise ConfigError(
                f"meta_learning.algorithm: {algorithm} compares classes, and these "
                "tasks are regressions; take an algorithm that adapts"
            )
        if inner.micro_batch is not None and functional.uses_batch_statistics:
            raise ConfigError(
                "meta_learning.inner_micro_batch: this model normalises by the "
                "statistics of the whole batch, which parts of it do not have; set null"
            )
        self._functional = functional
        self._outputs: int | None = None
        self._lost_kernels = 0
        self._loops = InnerLoops(
            functional, self.inner, self.strategy, algorithm_, most_compiled
        )
        self._scorer: Scorer | HeadScorer
        if head == INNER_STEPS:
            self._scorer = Scorer(
                functional,
                self.eval_inner,
                self.strategy,
                transductive=transductive,
                most_compiled=most_compiled,
            )
        else:
            self._scorer = HeadScorer(
                functional, head, transductive=transductive, label_names=label_names
            )
        self._source: Mapping[str, Array] | None = None
        self._meta: tuple[MlxTree, MlxTree] = ({}, {})

    @property
    def uses_batch_statistics(self) -> bool:
        """Whether the model's outputs depend on the rest of a batch."""
        return self._functional.uses_batch_statistics

    def calibrate(self) -> None:
        """From now on, `evaluate` sums up calibration as well."""
        self._scorer.calibrate()

    def outputs(self, x: Array) -> int:
        """Outputs of the model for one input; a batch of inputs gives their shape."""
        if self._outputs is None:
            with self._functional.installed():
                # Its shape is all that is asked for, so nothing is computed.
                self._outputs = int(self._functional.model(mx.array(x)).shape[-1])
        return self._outputs

    def train(
        self,
        meta: Mapping[str, Array],
        episodes: Sequence[Episode],
        rng: RngOf,
        progress: Callable[[int], None] = lambda _: None,
        course: Course = Course(),  # noqa: B008 - it is immutable
    ) -> ShardTrainResult:
        """Adapt to each episode and sum what comes out.

        Args:
            meta: Theta, and the inner state where it is carried.
            episodes: At least one.
            rng: The generator of an episode by its index, for the order of its inner
                batches and for dropout; not called where there are none.
            progress: Called with the number of tasks done whenever one is (under vmap:
                once); it may raise to drop the rest.
            course: What follows the meta-iteration.

        Raises:
            Unsupported: See `keeps_strategy`.
        """
        fused = self._loops.strategy == "fused"
        theta, state = split(meta) if fused else self._as_mlx(meta)
        tasks = self._planned(episodes, rng)
        try:
            result = self._loops(theta, state, tasks, progress, course)
        except (ValueError, RuntimeError, Unsupported, CompilerFailed) as error:
            self._recover(self._loops, error)
            self.strategy = self._loops.strategy
            return self.train(meta, episodes, rng, progress, course)
        total = join(result.total, result.state)
        return ShardTrainResult(
            # A gradient may be a transposed view, which gives other bits later than the
            # same numbers read from a file or from the wire.
            {name: np.asarray(leaf, order="C") for name, leaf in total.items()},
            np.asarray(result.support_loss),
            None if tasks[0].query is None else np.asarray(result.query_loss),
        )

    def settle(
        self,
        meta: Mapping[str, Array],
        episode: Episode,
        rng: RngOf,
        course: Course = Course(),  # noqa: B008 - it is immutable
    ) -> StrategyName:
        """The strategy that training really takes: fused only if it can be.

        Args:
            meta: Theta, and the inner state where it is carried.
            episode: As those to come.
            rng: As in `train`.
            course: Likewise.
        """
        if self.strategy == "fused":
            (task,) = self._planned([episode], rng)
            try:
                self._loops.check_fused(*split(meta), task, course)
            except Unsupported as error:
                self._go_without_fused(self._loops, error)
                self.strategy = self._loops.strategy
        return self.strategy

    def iterate(
        self,
        theta: NumpyTree,
        episodes: Sequence[Episode],
        rng: RngOf,
        lrs: Sequence[float],
    ) -> Iterated | None:
        """Several meta-iterations of gradient descent in one native call.

        Args:
            theta: Meta-parameters to begin with.
            episodes: Those of all meta-iterations, as many of each.
            rng: As in `train`, by the index among all of them.
            lrs: Outer step sizes.

        Returns:
            The losses of support and queries are its `each`. None: it has to be done
            step by step.

        Raises:
            Unsupported: See `keeps_strategy`.
        """
        if self._loops.strategy != "fused":
            return None
        tasks = self._planned(episodes, rng)
        try:
            return self._loops.iterate(theta, tasks, np.array(lrs, np.float32))
        except (ValueError, RuntimeError, Unsupported, CompilerFailed) as error:
            self._recover(self._loops, error)
            self.strategy = self._loops.strategy
            return None

    def evaluate(
        self,
        meta: Mapping[str, Array],
        episodes: Sequence[Episode],
        rng: RngOf,
        steps: Sequence[int],
        progress: Callable[[int], None] = lambda _: None,
    ) -> ShardScores:
        """Score the queries of each episode after each of some inner steps.

        Args:
            meta: Theta, and the inner state where it is carried.
            episodes: At least one; each with queries.
            rng: The generator of an episode by its index, for the order of its inner
                batches and for dropout; not called where there are none.
            steps: Ascending numbers of inner steps after which to score; more than
                the inner loop's are taken too.
            progress: As in `train`.

        Raises:
            Unsupported: See `keeps_strategy`.
        """
        fused = self._scorer.strategy == "fused"
        theta, state = split(meta) if fused else self._as_mlx(meta)
        theta = without_head(theta)
        for episode in episodes:
            if len(episode.query_x) == 0:
                raise ShapeError(
                    "an episode without queries cannot be scored; give it a query_size"
                )
        make_rngs = [partial(rng, index) for index in range(len(episodes))]
        try:
            scores = self._scorer(theta, state, episodes, make_rngs, steps, progress)
        except (ValueError, RuntimeError, Unsupported, CompilerFailed) as error:
            # Training keeps its own strategy: its bits must not depend on whether this
            # process happened to evaluate before.
            self._recover(self._scorer, error)
            return self.evaluate(meta, episodes, rng, steps, progress)
        return ShardScores(*scores)

    def predictions(
        self,
        meta: Mapping[str, Array],
        episode: Episode,
        make_rng: Callable[[], np.random.Generator],
        steps: int,
    ) -> np.ndarray:
        """The class of each query of an episode after some inner steps, (queries,).

        Args:
            meta: As in `evaluate`.
            episode: Of a classification.
            make_rng: As `rng` in `evaluate`, for this episode.
            steps: Inner steps.
        """
        theta, state = self._as_mlx(meta)
        return self._scorer.predictions(theta, state, episode, make_rng, steps)

    def _recover(
        self, runner: InnerLoops | Scorer | HeadScorer, error: Exception
    ) -> None:
        """Prepare for another try, if the error allows one; else raise it.

        Raises:
            ConfigError: If an operation has no first or no second derivative.
            MlpeftError: If kernels fail to compile again and again.
            Unsupported: If the engine keeps its strategy.
        """
        text = str(error)
        if isinstance(error, CompilerFailed):
            # Others may have compiled it, and another strategy has other bits.
            raise MlpeftError(
                f"compute.strategy fused: {text}; mend that, or set compute.strategy: "
                f"{self.otherwise}"
            ) from error
        if isinstance(error, Unsupported):
            if self._keeps_strategy:
                raise error
            self._go_without_fused(runner, error)
            return
        if "vjp" in text.lower() and runner.takes_second_derivatives:
            raise ConfigError(
                "meta_learning.algorithm: this model has an operation without a second "
                f"derivative in MLX ({text}); set meta_learning.first_order: true, or "
                "take fomaml"
            ) from error
        if LOST_KERNEL in text:
            self._lost_kernels += 1
            if self._lost_kernels > MOST_LOST_KERNELS:
                raise MlpeftError(
                    f"the C++ compiler fails ({text}): its disk may be full, or the "
                    "system may have ended it for want of memory; mlpeft validate "
                    "tells more"
                ) from error
            logger.warning("the C++ compiler was interrupted; trying again")
        elif runner.strategy == "vmap" and "vmap" in text.lower():
            logger.warning("this model does not vmap (%s): compiled loop instead", text)
            runner.strategy = "compiled"
        else:
            explained = without_gradient(error)
            if explained is not None:
                raise explained from error
            raise error

    def _go_without_fused(
        self, runner: InnerLoops | Scorer | HeadScorer, error: Unsupported
    ) -> None:
        runner.strategy = self.otherwise
        self._warn_not_fused(str(error))

    def _warn_not_fused(self, reason: str) -> None:
        logger.warning(
            "compute.strategy fused cannot be had here: %s; %s instead",
            reason,
            self.otherwise,
        )

    def _planned(self, episodes: Sequence[Episode], rng: RngOf) -> list[TaskData]:
        """What the inner loops of training see of each episode."""
        steps = self.inner.num_steps
        dropout = bool(self._functional.dropouts)
        plans = [
            SupportPlan.draw(
                self.inner, *episode[:2], partial(rng, index), dropout=dropout
            )
            for index, episode in enumerate(episodes)
        ]
        if any(plan.order is not None for plan in plans):
            plans = [plan.as_seen(steps) for plan in plans]
        return [
            TaskData(plan, (np.asarray(e.query_x), np.asarray(e.query_y)))
            if len(e.query_x)
            else TaskData(plan, None)
            for plan, e in zip(plans, episodes, strict=True)
        ]

    def _as_mlx(self, meta: Mapping[str, Array]) -> tuple[MlxTree, MlxTree]:
        """Theta and inner state as MLX leaves, converted once a meta-state."""
        if meta is not self._source:
            self._meta = split({name: mx.array(leaf) for name, leaf in meta.items()})
            self._source = meta
        return self._meta
