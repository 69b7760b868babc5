"""Computes shards: draws their episodes and puts them through the engine.

The same runner serves one process and every worker of a cluster, which is why they give
the same bits.
"""

from __future__ import annotations

import logging
from functools import partial
from typing import TYPE_CHECKING, Self, TypeVar

import numpy as np

from mlpeft import params
from mlpeft.fused import Unsupported
from mlpeft.meta import joint, state
from mlpeft.meta.algorithms import ALGORITHMS
from mlpeft.meta.compression import Compression
from mlpeft.meta.engine import Engine
from mlpeft.meta.inner import InnerLoop, eval_steps
from mlpeft.meta.outer import OuterStep
from mlpeft.meta.strategies import (
    Course,
    choose_strategy,
    fused_problem,
    is_linear,
    without_fused,
)
from mlpeft.models.build import base_dtype, build_model
from mlpeft.models.losses import cross_entropy_loss, mse_loss
from mlpeft.platform import compile_notice, set_blas_threads
from mlpeft.seeds import Purpose, generator
from mlpeft.tasks.build import build_tasks
from mlpeft.tasks.families import get_family
from mlpeft.tasks.pool_labels import PoolLabels
from mlpeft.training.fallback import Fallback
from mlpeft.training.plan import train_shards
from mlpeft.work import Kind, ResultSchema, RoundsResult, ShardUpdate

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Sequence

    import mlx.nn as nn

    from mlpeft.config import RunConfig
    from mlpeft.meta.strategies import StrategyName
    from mlpeft.params import ParamTree, Schema
    from mlpeft.tasks.build import Tasks, TaskSplits
    from mlpeft.tasks.episode import Episode
    from mlpeft.work import Shard

ResultT = TypeVar("ResultT")

log = logging.getLogger("mlpeft.train")

SIZES_OF = 32
"""Episodes at the start of a run that are looked at for their sizes."""
MOST_SIZES = 8
"""Sizes that they may have for `auto` to take fused."""


def result_schema(config: RunConfig) -> ResultSchema:
    """The per-task results that `ShardRunner.run` returns for this configuration."""
    section = config.task_distribution
    queries = section.train_query_size
    regression = get_family(section.task_families[0]).regression
    share = "exact" if "completions" in section.task_families else "acc"
    joint_ = config.meta_learning.algorithm == "joint"
    queries = section.query_size if queries is None else queries
    return ResultSchema(
        has_queries=bool(queries) and not joint_,
        eval_steps=len(eval_steps(config)),
        share=None if regression else share,
    )


class ShardRunner:
    """Computes the shards of one run.

    Args:
        config: The configuration; `resolved` settles what it leaves open.
        tasks: The run's tasks.
        model: The model, with the parameters that the run starts from.
    """

    def __init__(self, config: RunConfig, tasks: TaskSplits, model: nn.Module) -> None:
        self.tasks = tasks
        self.model = model
        self.config = resolved(config, model)
        self.steps = eval_steps(config)
        self.inner = InnerLoop.from_config(config.meta_learning)
        self.eval_inner = InnerLoop.for_evaluation(config)
        self._by_rule = config.compute.strategy == "auto"
        self._joint = config.meta_learning.algorithm == "joint"
        self._pool_labels = PoolLabels.of(tasks.train) if self._joint else None
        if self._pool_labels is not None:
            joint.check_embeds(model, len(self._pool_labels))
        self.compression = Compression.from_config(config)
        self._schema: Schema | None = None
        self._warm: set[Kind] = set()  # kinds whose kernels there are
        set_blas_threads(config.compute.threads)
        self._engines = self._new_engines()

    def _new_engines(self) -> Fallback:
        return Fallback(self._new_engine, self._strategy)

    @property
    def _strategy(self) -> StrategyName:
        strategy = self.config.compute.strategy
        assert strategy != "auto", "`resolved` settles it"  # noqa: S101 - ours
        return strategy

    def _new_engine(self, strategy: StrategyName) -> Engine:
        config = self.config
        return Engine(
            self.model,
            mse_loss if self.tasks.regression else cross_entropy_loss,
            self.inner,
            strategy,
            config.meta_learning.algorithm,
            self.eval_inner,
            transductive=config.model.transductive,
            gradient_checkpointing=config.compute.gradient_checkpointing,
            head=config.evaluation.head,
            label_names=bool(
                config.task_distribution.task_params.get("label_names", False)
            ),
            keeps_strategy=True,
        )

    @classmethod
    def from_config(
        cls, config: RunConfig, allow_modules: Container[str] | None = None
    ) -> Self:
        """A runner of the configured tasks and model.

        Args:
            config: The configuration.
            allow_modules: Modules of the user's own that may be imported because the
                configuration names them; None: any (it is this machine's own).

        Raises:
            ConfigError: Listing every problem of tasks and model.
            DataError: If a data set is missing, saying how to get it.
        """
        tasks = build_tasks(config, allow_modules)
        model = build_model(
            config.model,
            tasks.input_shape,
            tasks.num_outputs,
            config.run.seed,
            allow_modules=allow_modules,
            peft=config.peft,
        )
        return cls(config, tasks, model)

    @property
    def uses_batch_statistics(self) -> bool:
        """Whether the model's outputs depend on the rest of a batch."""
        return self._engines.engine.uses_batch_statistics

    def settle_strategy(self) -> None:
        """Have the configuration of a new run name what will be computed.

        Whether inner loops can be native code follows from the model's operations,
        and whether that pays from the sizes of episodes, as each takes a second to
        compile; `resolved` knows neither.
        """
        if self.config.compute.strategy != "fused":
            return
        shard = train_shards(self.config, self.tasks, 0)[0]
        rng = partial(_batch_rng, shard)
        strategy = self._engines.engine.settle(
            self.initial_meta(), self._drawn(shard, 0), rng, self.course(0)
        )
        if self._by_rule and strategy == "fused" and self._sizes() > MOST_SIZES:
            strategy = without_fused(self.model)
            log.info(
                "episodes have many sizes, each of which fused inner loops would "
                "compile: compute.strategy %s instead",
                strategy,
            )
        if strategy != self.config.compute.strategy:
            compute = self.config.compute.model_copy(update={"strategy": strategy})
            self.config = self.config.model_copy(update={"compute": compute})
            self._engines = self._new_engines()

    def _sizes(self) -> int:
        """How many sizes the first training episodes have."""
        rounds = -(-SIZES_OF // self.config.meta_learning.meta_batch_size)
        drawn = (
            self._drawn(shard, index)
            for iteration in range(rounds)
            for shard in train_shards(self.config, self.tasks, iteration)
            for index in range(len(shard.tasks))
        )
        return len({tuple(map(np.shape, episode)) for episode in drawn})

    def calibrate(self) -> None:
        """From now on, results of validation and test have `calibration` as well.

        Only where nobody checks them against `result_schema`: in this process.
        """
        self._engines.calibrate()

    def initial_meta(self, start: ParamTree | None = None) -> ParamTree:
        """The meta-state that the run starts with, NumPy float32 leaves.

        Args:
            start: Theta, with or without a training head and what is learned beside the
                model's leaves; None: the model's own.
        """
        seed = self.config.run.seed
        theta: ParamTree = state.split(state.new(self.model, self.inner, seed))[0]
        if self._pool_labels is not None:
            theta = joint.without_output(self.model, theta)
        theta |= start or {}
        if self._pool_labels is not None:
            head = joint.initial_head(
                self.model, state.without_head(theta), self._pool_labels
            )
            theta = head | theta
        return state.initial(theta, self.inner, self.model)

    @property
    def schema(self) -> Schema:
        """Names, shapes and dtypes of the meta-state's leaves."""
        if self._schema is None:
            self._schema = params.schema(self.initial_meta())
        return self._schema

    def run(
        self,
        meta: ParamTree,
        shard: Shard,
        progress: Callable[[int], None] = lambda _: None,
    ) -> ShardUpdate:
        """Compute one shard.

        Args:
            meta: The meta-state of the shard's round.
            shard: What to compute.
            progress: Called with the number of tasks done whenever one is, from the
                computing thread; it may raise to drop the shard. Under vmap the shard
                is one call, and all its tasks are done at once.
        """
        return self._warmed(shard.kind, partial(self._compute, meta, shard, progress))

    def iterate(
        self,
        meta: ParamTree,
        rounds: Sequence[Sequence[Shard]],
        lrs: Sequence[float],
    ) -> RoundsResult | None:
        """Several meta-iterations in one native call; see `mlpeft.work.Iterates`."""
        specs = [
            (shard, index)
            for shards in rounds
            for shard in shards
            for index in range(len(shard.tasks))
        ]
        drawn = [self._drawn(shard, index) for shard, index in specs]

        def rng(number: int) -> np.random.Generator:
            return _batch_rng(*specs[number])

        call = partial(self._engines.engine.iterate, meta, drawn, rng, lrs)
        try:
            done = self._warmed(Kind.TRAIN, call)
        except Unsupported:
            return None  # shard by shard: each finds out for itself
        if done is None:
            return None
        names = ["support_loss", *(["query_loss"] if len(drawn[0].query_x) else [])]
        columns = [np.split(each, len(rounds)) for each in done.each[: len(names)]]
        per_task = [
            dict(zip(names, parts, strict=True)) for parts in zip(*columns, strict=True)
        ]
        return RoundsResult(done.theta, per_task, done.moved)

    def _warmed(self, kind: Kind, compute: Callable[[], ResultT]) -> ResultT:
        """What it computes; the first of a kind says that it compiles."""
        if kind in self._warm:
            return compute()
        with compile_notice():
            result = compute()
        self._warm.add(kind)
        return result

    def predictions(self, meta: ParamTree, shard: Shard) -> list[np.ndarray]:
        """The classes of the queries of a test shard's episodes, after the last step.

        Args:
            meta: The meta-state to start from.
            shard: Of a classification; validation or test.
        """
        tasks = self._scored(shard)
        return [
            self._engines.engine.predictions(
                meta,
                tasks.episode(spec.task_id, spec.seed),
                partial(_batch_rng, shard, index),
                self.steps[-1],
            )
            for index, spec in enumerate(shard.tasks)
        ]

    def _compute(
        self, meta: ParamTree, shard: Shard, progress: Callable[[int], None]
    ) -> ShardUpdate:
        drawn = [self._drawn(shard, index) for index in range(len(shard.tasks))]
        rng = partial(_batch_rng, shard)
        if shard.kind is Kind.TRAIN:
            course = self.course(shard.round)
            result, otherwise = self._engines.compute(
                shard.kind, lambda by: by.train(meta, drawn, rng, progress, course)
            )
            per_task: ParamTree = {"support_loss": result.support_loss}
            if result.query_loss is not None:
                per_task["query_loss"] = result.query_loss
            # A model in half precision has losses in it.
            per_task = {k: loss.astype(np.float32) for k, loss in per_task.items()}
            total = result.total
        else:
            steps = self.steps
            scores, otherwise = self._engines.compute(
                shard.kind, lambda by: by.evaluate(meta, drawn, rng, steps, progress)
            )
            per_task = {"loss": scores.loss.astype(np.float32)}
            if scores.acc is not None:
                # Of sequences: whether every token of a completion is right.
                name = "exact" if np.ndim(drawn[0].query_y) == 2 else "acc"
                per_task[name] = scores.acc.astype(np.float32)
            if scores.calibration is not None:
                per_task["calibration"] = scores.calibration.astype(np.float32)
            total = {}
        update = ShardUpdate(
            shard.index, len(shard.tasks), total, per_task, otherwise=otherwise
        )
        if self.compression is None or shard.kind is not Kind.TRAIN:
            return update
        return self.compression.compress(meta, shard, update)

    def _drawn(self, shard: Shard, index: int) -> Episode:
        """The episode of one of a shard's tasks, as it is computed with."""
        spec = shard.tasks[index]
        if shard.kind is not Kind.TRAIN:
            return self._scored(shard).episode(spec.task_id, spec.seed)
        episode = self.tasks.train.episode(spec.task_id, spec.seed)
        return self._joined(spec.task_id, episode) if self._joint else episode

    def _joined(self, task_id: str, episode: Episode) -> Episode:
        """An episode as joint training takes it."""
        if self._pool_labels is not None:
            episode = self._pool_labels.relabelled(task_id, episode)
        return joint.whole(episode)

    def course(self, iteration: int) -> Course:
        """What of a task's work follows the meta-iteration."""
        outer = OuterStep.from_config(self.config.meta_learning)
        adaptation, steps = self.inner.adaptation, self.inner.num_steps
        return Course(outer.lr_at(iteration), adaptation.loss_weights(steps, iteration))

    def _scored(self, shard: Shard) -> Tasks:
        return self.tasks.val if shard.kind is Kind.VALIDATE else self.tasks.test


def resolved(config: RunConfig, model: nn.Module) -> RunConfig:
    """The configuration without `auto`: what a run records and workers follow.

    Strategy, shard size and the dtype of a language model's base change bits, so they
    are chosen here once, by rule.
    """
    compute = config.compute
    strategy = compute.strategy
    whole = config.meta_learning.inner_micro_batch is None
    plain = whole and not compute.gradient_checkpointing
    if strategy == "auto":
        strategy = choose_strategy(model, plain=plain)
    elif strategy == "fused" and (problem := fused_problem()):
        strategy = without_fused(model, plain=plain)
        log.warning(
            "compute.strategy fused cannot be had here: %s; %s instead",
            problem,
            strategy,
        )
    size = compute.shard_size
    if size is None:
        vectorised = strategy == "vmap" or (strategy == "fused" and is_linear(model))
        serial = ALGORITHMS[config.meta_learning.algorithm].serial
        together = serial or (vectorised and config.meta_learning.aggregation == "mean")
        size = config.meta_learning.meta_batch_size if together else 1
    settled = compute.model_copy(update={"strategy": strategy, "shard_size": size})
    base = config.model
    if base.backbone == "causal_lm":
        base = base.model_copy(update={"base_dtype": base_dtype(base)})
    return config.model_copy(update={"compute": settled, "model": base})


def _batch_rng(shard: Shard, index: int) -> np.random.Generator:
    """Orders the inner batches of one of a shard's tasks."""
    return generator(shard.tasks[index].seed, Purpose.BATCH)
