"""ReptileLearner: meta-learning of one model in a few lines of Python.

The learners of other algorithms inherit from it.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from mlpeft import params
from mlpeft.charts import notebook
from mlpeft.config import (
    ComputeSection,
    EvaluationSection,
    MetaLearningSection,
    ModelSection,
    RunSection,
    checked,
)
from mlpeft.meta import state
from mlpeft.meta.adapted_model import adapted_model
from mlpeft.meta.aggregate import combine
from mlpeft.meta.engine import Engine
from mlpeft.meta.functional import get_params
from mlpeft.meta.held_theta import HeldTheta
from mlpeft.meta.inner import InnerLoop
from mlpeft.meta.outer import OuterStep
from mlpeft.meta.strategies import Course
from mlpeft.meta.user_episodes import as_episodes
from mlpeft.models.losses import cross_entropy_loss
from mlpeft.rounds import SummedTotals
from mlpeft.seeds import Purpose, generator

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import mlx.nn as nn

    from mlpeft.config.algorithms import AlgorithmName
    from mlpeft.meta.functional import LossFn
    from mlpeft.meta.strategies import StrategyName
    from mlpeft.params import Array, NumpyTree
    from mlpeft.tasks.episode import Episode

STANDARD_STEPS = tuple(EvaluationSection().steps)
"""Inner steps after which `evaluate` always scores."""

_META = MetaLearningSection()
MOST_SIZES = 64
"""Sizes of episodes that fused inner loops are compiled for, a second each."""
SMALL_OUTER_LR = 0.01
STILL = 1e-3
"""Share of its norm below which theta has hardly moved in a meta-iteration."""
log = logging.getLogger("mlpeft.meta")


class ReptileLearner:
    """Meta-learns the parameters of a model with Reptile.

    `model` holds theta: `meta_train_step` moves its parameters, `evaluate` leaves them.

    Args:
        model: Any `mlx.nn.Module` that maps a batch of inputs to a batch of outputs.
        inner_lr: Step size on a task (alpha in the paper).
        outer_lr: Step size of theta towards the mean of the adapted parameters
            (epsilon in the paper).
        num_inner_steps: Gradient steps on a task.
        inner_optimizer: "sgd" or "adam".
        inner_beta1: Adam's beta1 (the paper: 0).
        inner_batch_size: Support examples a step; None: all.
        inner_state: Adam's moments: "reset" for each task, or "carry" from round to
            round, averaged over tasks.
        strategy: How inner loops run: "loop", "compiled", "vmap", "fused"; None: by the
            model.
        transductive: Whether the queries of an episode share a batch at evaluation.
        seed: Seeds the order of inner batches, and what is learned beside the model
            and starts at random.
        **settings: Other keys of the `meta_learning` section, such as
            `outer_optimizer` and those of an algorithm (`mlpeft config` lists them).

    Raises:
        ConfigError: If a setting is not a possible one (a ValueError); all are told.

    References:
        Nichol, Achiam and Schulman, "On First-Order Meta-Learning Algorithms", 2018,
        arXiv 1803.02999, algorithm 2.
    """

    algorithm: ClassVar[AlgorithmName] = "reptile"
    outer_optimizer: ClassVar[str] = "sgd"

    def __init__(
        self,
        model: nn.Module,
        inner_lr: float = _META.inner_lr,
        outer_lr: float = _META.outer_lr,
        num_inner_steps: int = _META.num_inner_steps,
        *,
        inner_optimizer: str = _META.inner_optimizer,
        inner_beta1: float = _META.inner_beta1,
        inner_batch_size: int | None = _META.inner_batch_size,
        inner_state: str = _META.inner_state,
        strategy: StrategyName | None = None,
        transductive: bool = ModelSection().transductive,
        seed: int = RunSection().seed,
        **settings: Any,
    ) -> None:
        section = checked(
            MetaLearningSection,
            algorithm=self.algorithm,
            inner_lr=inner_lr,
            outer_lr=outer_lr,
            num_inner_steps=num_inner_steps,
            inner_optimizer=inner_optimizer,
            inner_beta1=inner_beta1,
            inner_batch_size=inner_batch_size,
            inner_state=inner_state,
            **{"outer_optimizer": self.outer_optimizer} | settings,
        )
        checked(ComputeSection, strategy=strategy or "auto")
        checked(RunSection, seed=seed)
        self.model = model
        self.inner = InnerLoop.from_config(section)
        self.outer = OuterStep.from_config(section)
        self.strategy = strategy
        self.transductive = transductive
        self.seed = seed
        self.iteration = 0
        self._theta = HeldTheta(model, self.inner, seed)
        self._engines: dict[int, tuple[LossFn, Engine]] = {}

    def __repr__(self) -> str:
        model = type(self.model).__name__
        return (
            f"{type(self).__name__}({model}: {params.summary(get_params(self.model))}; "
            f"inner_lr={self.inner_lr:g}, outer_lr={self.outer_lr:g}, "
            f"num_inner_steps={self.num_inner_steps}, iteration={self.iteration})"
        )

    def _repr_html_(self) -> str:
        """What a notebook shows."""
        values = {
            "model": f"{type(self.model).__name__}: "
            f"{params.summary(get_params(self.model))}",
            "inner_lr": f"{self.inner_lr:g}",
            "outer_lr": f"{self.outer_lr:g}",
            "num_inner_steps": self.num_inner_steps,
            "iteration": f"{self.iteration:,}",
        }
        return notebook.facts(type(self).__name__, values)

    @property
    def meta(self) -> NumpyTree:
        """Theta (and carried inner state), float32: the model's leaves and others."""
        return dict(self._theta.of(get_params(self.model)))

    @meta.setter
    def meta(self, meta: NumpyTree) -> None:
        self._theta.put(meta, get_params(self.model))

    @property
    def outer_lr(self) -> float:
        """Step size of theta."""
        return self.outer.lr

    @outer_lr.setter
    def outer_lr(self, lr: float) -> None:
        self.outer.lr = lr

    @property
    def inner_lr(self) -> float:
        """Step size on a task."""
        return self.inner.lr

    @property
    def num_inner_steps(self) -> int:
        """Gradient steps on a task."""
        return self.inner.num_steps

    def meta_train_step(
        self, episodes: Sequence[Sequence[Array]], loss_fn: LossFn
    ) -> dict[str, float]:
        """One meta-iteration: adapt to each episode, then move theta.

        Args:
            episodes: The meta-batch: (support_x, support_y, query_x, query_y) each.
            loss_fn: `(outputs, targets) -> scalar`.

        Returns:
            `query_loss` after adaptation (NaN without queries) and `support_loss` at
            the last inner step, both means over episodes; `param_diff`, the Euclidean
            norm of theta's change.

        Raises:
            ValueError: If there are no episodes, or shapes or labels do not fit the
                model.
        """
        if not episodes:
            raise ValueError(
                "meta_train_step got no episodes; sample at least one: "
                "[dist.sample_episode()[1:] for _ in range(4)]"
            )
        return self._iterated(episodes, loss_fn, 1) or self._stepped(episodes, loss_fn)

    def meta_train_steps(
        self, episodes: Sequence[Sequence[Array]], loss_fn: LossFn, n: int
    ) -> dict[str, float]:
        """Several meta-iterations, the same as that many calls of `meta_train_step`.

        Faster where the strategy is fused: they are one native call then, if the outer
        step is plain gradient descent (`outer_optimizer` sgd, no `update_clip`).

        Args:
            episodes: The meta-batches one after the other: n times as many as one has.
            loss_fn: `(outputs, targets) -> scalar`.
            n: Meta-iterations.

        Returns:
            As `meta_train_step`, means over the meta-iterations.

        Raises:
            ValueError: If the episodes are not n meta-batches of one size, or as
                `meta_train_step`.
        """
        if n < 1 or not episodes or len(episodes) % n:
            raise ValueError(
                f"meta_train_steps got {len(episodes)} episodes for {n} "
                "meta-iterations; give n meta-batches of one size, one after the other"
            )
        done = self._iterated(episodes, loss_fn, n)
        if done is not None:
            return done
        size = len(episodes) // n
        metrics = [
            self.meta_train_step(episodes[start : start + size], loss_fn)
            for start in range(0, len(episodes), size)
        ]
        return {
            key: float(np.mean([one[key] for one in metrics])) for key in metrics[0]
        }

    def _iterated(
        self, episodes: Sequence[Sequence[Array]], loss_fn: LossFn, n: int
    ) -> dict[str, float] | None:
        """Meta-iterations in one native call; None: they have to be done one by one."""
        engine, first, size = self._engine(loss_fn), self.iteration, len(episodes) // n
        turns = range(first, first + n)
        adaptation, steps = self.inner.adaptation, self.num_inner_steps
        plain = self.outer.optimizer == "sgd" and self.outer.clip is None
        if engine.strategy != "fused" or not plain:
            return None
        if any(adaptation.loss_weights(steps, turn) is not None for turn in turns):
            return None
        own = get_params(self.model)
        meta = self._theta.of(own)
        if state.carried(meta):
            return None

        def rng(index: int) -> np.random.Generator:
            turn, place = divmod(index, size)
            return generator(self.seed, Purpose.BATCH, first + turn, place)

        made = self._training(as_episodes(episodes, loss_fn, engine.outputs))
        lrs = [self.outer.lr_at(turn) for turn in turns]
        done = engine.iterate(meta, made, rng, lrs)
        if done is None:
            return None
        self._theta.put(done.theta, own)
        self._moved(done.theta, float(done.moved[0]), n)
        support_loss, query_loss = done.each
        queries = len(made[0].query_x) > 0
        return {
            "query_loss": float(query_loss.mean()) if queries else float("nan"),
            "support_loss": float(support_loss.mean()),
            "param_diff": float(done.moved.mean()),
        }

    def _stepped(
        self, episodes: Sequence[Sequence[Array]], loss_fn: LossFn
    ) -> dict[str, float]:
        """One meta-iteration."""
        own = get_params(self.model)
        meta = self._theta.of(own)
        engine = self._engine(loss_fn)
        adaptation, steps = self.inner.adaptation, self.num_inner_steps
        course = Course(
            self.outer.lr_at(self.iteration),
            adaptation.loss_weights(steps, self.iteration),
        )
        result = engine.train(
            meta,
            self._training(as_episodes(episodes, loss_fn, engine.outputs)),
            partial(self._rng, Purpose.BATCH),
            course=course,
        )
        mean = combine(SummedTotals(result.total, len(episodes)))
        moved = self.outer.step(meta, mean, self.iteration)
        self._theta.put(moved.meta, own)
        self._moved(moved.meta, moved.param_diff, 1)
        query_loss = result.query_loss
        return {
            "query_loss": float("nan")
            if query_loss is None
            else query_loss.mean().item(),
            "support_loss": result.support_loss.mean().item(),
            "param_diff": moved.param_diff,
        }

    def _moved(self, meta: NumpyTree, param_diff: float, n: int) -> None:
        """Count meta-iterations; after the first, say so if theta hardly moved."""
        if self.iteration == 0 and self.outer.algorithm == "reptile":
            theta, _ = state.split(meta)
            _warn_if_still(params.global_norm(theta), param_diff, self.outer_lr)
        self.iteration += n

    def adapt(
        self,
        x: Array,
        y: Array,
        loss_fn: LossFn = cross_entropy_loss,
        *,
        num_steps: int | None = None,
    ) -> nn.Module:
        """A copy of the model that has learned one task; theta stays.

        Args:
            x: Inputs of the task's examples.
            y: Their labels or targets.
            loss_fn: `(outputs, targets) -> scalar`.
            num_steps: Inner steps; None: `num_inner_steps`.

        Raises:
            ValueError: If shapes or labels do not fit the model.
            ConfigError: If the algorithm's adapted model consists of more than leaves:
                matching and relation networks compare with the examples.
        """
        inner = self.inner
        if num_steps is not None:
            inner = replace(inner, num_steps=num_steps)
        outputs = self._engine(loss_fn).outputs
        (episode,) = as_episodes([(x, y, x, y)], loss_fn, outputs)
        make_rng = partial(self._rng, Purpose.TEST, 0)
        return adapted_model(self.model, loss_fn, inner, self.meta, episode, make_rng)

    def evaluate(
        self, episodes: Sequence[Sequence[Array]], loss_fn: LossFn
    ) -> dict[str, float]:
        """Adapt to each episode from theta and score its queries along the way.

        Args:
            episodes: (support_x, support_y, query_x, query_y) each.
            loss_fn: `(outputs, targets) -> scalar`.

        Returns:
            `step_k_loss` and, for classification, `step_k_acc` after k inner steps for
            k = 0, 1, 5, 10 and `num_inner_steps`; `final_loss` (and `final_acc`) after
            `num_inner_steps`. Means over episodes.

        Raises:
            ValueError: If there are no episodes, one has no queries, or shapes or
                labels do not fit the model.
        """
        if not episodes:
            raise ValueError("evaluate got no episodes; sample at least one")
        metric = self.inner.adaptation.metric
        steps = [0] if metric else sorted({*STANDARD_STEPS, self.num_inner_steps})
        meta = self.meta
        engine = self._engine(loss_fn)
        scores = engine.evaluate(
            meta,
            as_episodes(episodes, loss_fn, engine.outputs),
            partial(self._rng, Purpose.TEST),
            steps,
        )
        final = steps.index(self.num_inner_steps)
        loss = scores.loss.mean(axis=0)
        results = {f"step_{k}_loss": float(loss[i]) for i, k in enumerate(steps)}
        results["final_loss"] = float(loss[final])
        if scores.acc is not None:
            acc = scores.acc.mean(axis=0)
            results |= {f"step_{k}_acc": float(acc[i]) for i, k in enumerate(steps)}
            results["final_acc"] = float(acc[final])
        return results

    def save(self, path: str | Path) -> None:
        """Save theta (and carried inner state) as `.npz`; folders are made."""
        self._theta.save(path)

    def load(self, path: str | Path) -> None:
        """Load what `save` wrote, into the model.

        Raises:
            FileNotFoundError: Naming the absolute path that was looked at.
            CheckpointError: If it is not such a file.
            ParamMismatch: If it was made for another model (a ValueError).
        """
        self._theta.load(path)

    def _training(self, episodes: list[Episode]) -> list[Episode]:
        """Episodes as the algorithm trains on them."""
        return episodes

    def _engine(self, loss_fn: LossFn) -> Engine:
        """The engine of a loss, kept so that compiled loops are used again."""
        kept = self._engines.get(id(loss_fn))
        if kept is None or kept[0] is not loss_fn:
            engine = Engine(
                self.model,
                loss_fn,
                self.inner,
                self.strategy,
                self.algorithm,
                transductive=self.transductive,
                most_compiled=MOST_SIZES,
            )
            kept = self._engines[id(loss_fn)] = (loss_fn, engine)
        return kept[1]

    def _rng(self, purpose: Purpose, index: int) -> np.random.Generator:
        """The generator that orders the inner batches of one episode."""
        iteration = self.iteration if purpose is Purpose.BATCH else 0
        return generator(self.seed, purpose, iteration, index)


def _warn_if_still(norm: float, moved: float, outer_lr: float) -> None:
    """Say so if a small outer step leaves theta where it was."""
    if outer_lr <= SMALL_OUTER_LR and moved < STILL * norm:
        log.warning(
            "outer_lr %g moved theta by %.1g of its norm and will hardly learn; "
            "0.1 to 1 is usual (theta's share of the way to the adapted parameters)",
            outer_lr,
            moved / norm,
        )
