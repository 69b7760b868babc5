"""Regression tasks before and after adaptation, for a picture of them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final

import mlx.core as mx
import numpy as np

from mlpeft.errors import ConfigError
from mlpeft.evaluation.evaluate import fresh_start
from mlpeft.meta import norm_statistics, state
from mlpeft.meta.functional import Functional
from mlpeft.meta.inner import InnerLoop, inner_loop, last
from mlpeft.meta.norm_statistics import at_step
from mlpeft.meta.support import PreparedSupport
from mlpeft.models.losses import mse_loss
from mlpeft.seeds import Purpose, generator, seed_word
from mlpeft.training.runner import ShardRunner

if TYPE_CHECKING:
    from mlpeft.config import RunConfig
    from mlpeft.meta.functional import ModelInput
    from mlpeft.params import MlxTree, ParamTree
    from mlpeft.tasks.episode import Episode
    from mlpeft.training.trained import Trained

CURVE_POINTS: Final = 300


@dataclass(frozen=True, slots=True)
class Fit:
    """A curve and what a model makes of it.

    Attributes:
        x: (n,) inputs, ascending.
        truth: (n,) targets.
        before: (n,) predictions of the start.
        after: (n,) predictions after the inner loop on the support set.
        support_x: (k,) inputs of the examples.
        support_y: (k,) targets of the examples.
    """

    x: np.ndarray
    truth: np.ndarray
    before: np.ndarray
    after: np.ndarray
    support_x: np.ndarray
    support_y: np.ndarray


def fit_sinusoid(trained: Trained, number: int = 0, *, fresh: bool = False) -> Fit:
    """Adapt to one test sinusoid, as `evaluate` does, and predict it all along.

    Args:
        trained: What to start from, and how.
        number: Which of the run's test tasks, in a fixed order of chance.
        fresh: Start from a fresh initialisation instead, with the same inner loop.

    Raises:
        ConfigError: If the run's tasks are not sinusoids of one input and one output.
    """
    config = trained.config.with_changes(task_distribution={"query_size": CURVE_POINTS})
    _check(config)
    runner = ShardRunner.from_config(config)
    tasks = runner.tasks.test
    if runner.tasks.input_shape != (1,):
        shape = runner.tasks.input_shape
        raise ConfigError([f"task_distribution.input_dim: {shape}, expected 1"])
    task = tasks.sample_task(generator(config.run.seed, Purpose.TEST, number))
    seed = seed_word(config.run.seed, Purpose.SAMPLE, number)
    episode = tasks.episode(task, seed)
    meta = fresh_start(runner) if fresh else trained.meta
    before, after = _predict(runner, meta, episode, seed)
    order = np.argsort(episode.query_x[:, 0])
    return Fit(
        x=episode.query_x[order, 0],
        truth=episode.query_y[order, 0],
        before=before[order, 0],
        after=after[order, 0],
        support_x=episode.support_x[:, 0],
        support_y=episode.support_y[:, 0],
    )


def _check(config: RunConfig) -> None:
    section = config.task_distribution
    if section.task_families != ["sinusoid"] or section.num_classes != 1:
        problem = (
            "task_distribution: only sinusoids with num_classes 1 can be drawn as a "
            f"curve, got {', '.join(section.task_families)} with num_classes "
            f"{section.num_classes}"
        )
        raise ConfigError([problem])


def _predict(
    runner: ShardRunner, meta: ParamTree, episode: Episode, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Predictions at the query inputs before and after the evaluation's inner loop."""
    inner = InnerLoop.for_evaluation(runner.config)
    theta, inner_state = state.split(
        {name: mx.array(leaf) for name, leaf in meta.items()}
    )
    functional = Functional(runner.model, mse_loss, adaptation=inner.adaptation)
    make_rng = partial(generator, seed, Purpose.BATCH)
    support = PreparedSupport.of_task(functional, inner, *episode[:2], make_rng)
    query_x = functional.prepare(episode.query_x)
    moments, statistics = norm_statistics.split(inner_state)
    with functional.installed():
        adapted = last(inner_loop(functional, inner, theta, moments, support))
        before, after = (
            _curve(functional, params, query_x, at_step(statistics, step))
            for params, step in ((theta, 0), (adapted.params, inner.num_steps))
        )
    return before, after


def _curve(
    functional: Functional, params: MlxTree, x: ModelInput, norms: MlxTree
) -> np.ndarray:
    """Predictions as they are scored: batch norms take what was kept, if anything."""
    with functional.norms.normalising(norms):
        return np.array(functional.predict(params, x))
