"""Scores a trained start with confidence intervals, and against a fresh start."""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from mlpeft import params
from mlpeft.charts import notebook
from mlpeft.config.learning import INNER_STEPS
from mlpeft.errors import counted
from mlpeft.meta import state
from mlpeft.meta.meta_sgd import RATE
from mlpeft.models.build import build_model
from mlpeft.reporting.notebook import notebook_progress
from mlpeft.results import (
    META_LEARNED,
    EvalResult,
    half_width,
    jsonable,
    number,
    start_name,
)
from mlpeft.rounds import RoundUpdates
from mlpeft.seeds import Purpose
from mlpeft.training import run_data
from mlpeft.training.plan import test_shards, validation_shards
from mlpeft.training.runner import ShardRunner

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy as np

    from mlpeft.config import RunConfig
    from mlpeft.params import ParamTree
    from mlpeft.rounds import RoundResult
    from mlpeft.training.trained import Trained
    from mlpeft.work import Executor, Shard

    EpisodeCallback = Callable[[int], None]

log = logging.getLogger("mlpeft.evaluate")


def evaluate(
    trained: Trained,
    episodes: int | None = None,
    *,
    runner: ShardRunner | None = None,
    executor: Executor | None = None,
    progress: EpisodeCallback | None = None,
) -> EvalResult:
    """Adapt to test episodes from a trained start and score their queries.

    Args:
        trained: The start and its configuration.
        episodes: Number of episodes; None: `evaluation.num_test_episodes`.
        runner: Tasks and model; None: built from the configuration.
        executor: Runs the shards; None: this process.
        progress: Called with the number of episodes done.

    Raises:
        ParamMismatch: If the checkpoint does not fit the configured model.
    """
    runner = runner or ShardRunner.from_config(trained.config)
    if progress is None:
        count = episodes or trained.config.evaluation.num_test_episodes
        progress = notebook_progress("Evaluating, episodes", count)
    result = score_episodes(trained, runner, episodes, executor, progress)
    return EvalResult.from_round(runner.steps, result)


def score_episodes(
    trained: Trained,
    runner: ShardRunner,
    episodes: int | None = None,
    executor: Executor | None = None,
    progress: EpisodeCallback | None = None,
) -> RoundResult:
    """Score test episodes one by one; arguments and errors as of `evaluate`."""
    _warn_if_data_changed(runner, trained)
    meta = _checked_meta(runner, trained)
    number = episodes or runner.config.evaluation.num_test_episodes
    shards = test_shards(runner.config, runner.tasks, number)
    if executor is not None:
        return executor.run(0, meta, shards)
    runner.calibrate()
    return _score(runner, meta, shards, _episode_counter(progress))


@dataclass(frozen=True, slots=True)
class Comparison:
    """Starting points compared on the same test episodes, for one k.

    Attributes:
        meta: The run's own start, meta-learned unless `name` says otherwise.
        fresh: A fresh initialisation, adapted in the same way.
        tuned: A fresh initialisation with the inner step size and the number of steps
            that are best on validation tasks: the baseline without meta-learning.
        tuned_lr: That step size.
        gain: Paired difference of meta and tuned after their last steps: accuracy
            gained, or for regression and sequences loss reduced.
        gain_ci95: Half width of its 95 % interval; NaN for a single episode.
        joint: A start that was trained jointly, tuned likewise; None: none.
        joint_lr: That step size; NaN without.
        over_joint: As gain, over joint; NaN without.
        over_joint_ci95: Half width of its 95 % interval.
        name: What tables call the run's own start (`start_name`).
    """

    meta: EvalResult
    fresh: EvalResult
    tuned: EvalResult
    tuned_lr: float
    gain: float
    gain_ci95: float
    joint: EvalResult | None = None
    joint_lr: float = math.nan
    over_joint: float = math.nan
    over_joint_ci95: float = math.nan
    name: str = META_LEARNED

    def __repr__(self) -> str:
        joint = "" if self.joint is None else f"joint {self.joint.final}, "
        return (
            f"Comparison(meta {self.meta.final}, {joint}tuned {self.tuned.final}, "
            f"fresh {self.fresh.final}; gain {number(self.gain, self.gain_ci95)})"
        )

    def _repr_html_(self) -> str:
        """What a notebook shows."""
        gain = number(self.gain, self.gain_ci95)
        rows = [(self.name, self.meta.final, self.meta.steps[-1], "")]
        if self.joint is not None:
            over = number(self.over_joint, self.over_joint_ci95)
            rows.append(("joint", self.joint.final, self.joint.steps[-1], over))
        rows += [
            ("fresh, tuned", self.tuned.final, self.tuned.steps[-1], gain),
            ("fresh", self.fresh.final, self.fresh.steps[-1], ""),
        ]
        header = ("start", "loss" if self.meta.acc is None else "accuracy", "steps")
        caption = f"{counted(self.meta.episodes, 'episode')}, ± 95 %"
        return notebook.table(
            "Comparison", (*header, f"{self.name} gains"), rows, caption
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        record = {
            "start": self.name,
            "meta": self.meta.to_dict(),
            "fresh": self.fresh.to_dict(),
            "tuned": self.tuned.to_dict(),
            "tuned_lr": self.tuned_lr,
            "gain": self.gain,
            "gain_ci95": jsonable(self.gain_ci95),
        }
        if self.joint is None:
            return record
        return record | {
            "joint": self.joint.to_dict(),
            "joint_lr": self.joint_lr,
            "over_joint": self.over_joint,
            "over_joint_ci95": jsonable(self.over_joint_ci95),
        }


LR_FACTORS = (0.3, 1.0, 3.0, 10.0, 30.0)
"""Multiples of `inner_lr` from which the tuned baseline selects."""
JOINT_LR_FACTORS = (0.03, 0.1, 0.3, 1.0, 3.0)
"""Likewise for joint training, whose features are larger."""


def compare(
    trained: Trained,
    k_shots: Sequence[int],
    episodes: int | None = None,
    *,
    joint: Trained | None = None,
    progress: EpisodeCallback | None = None,
) -> dict[int, Comparison]:
    """Compare a trained start with a fresh initialisation on the same episodes.

    Args:
        trained: The start.
        joint: A start that was trained jointly, to compare with, too (`trained_joint`).
        k_shots: Support sizes (`task_distribution.k_shot`) to compare at.
        episodes: Episodes per support size; None: `evaluation.num_test_episodes`.
        progress: Called with the number of episodes done, out of `comparison_size`.
    """
    number = episodes or trained.config.evaluation.num_test_episodes
    comparisons: dict[int, Comparison] = {}
    if progress is None:
        size = comparison_size(trained.config, k_shots, number, joint=joint is not None)
        progress = notebook_progress("Comparing, episodes", size)
    advance = _episode_counter(progress)
    for k in k_shots:
        config = trained.config.with_changes(task_distribution={"k_shot": k})
        runner = ShardRunner.from_config(config)
        if not comparisons:
            _warn_if_data_changed(runner, trained)
        start = fresh_start(runner)
        shards = test_shards(runner.config, runner.tasks, number)
        meta = _score(runner, _checked_meta(runner, trained), shards, advance)
        fresh = _score(runner, start, shards, advance)
        lr, count, tuned_runner = _tune(runner, start, LR_FACTORS, advance)
        own = _with_rates_of(tuned_runner, start)
        tuned = _score(tuned_runner, own, shards, advance)
        gain = _gain(meta, tuned, count)
        comparison = Comparison(
            meta=EvalResult.from_round(runner.steps, meta),
            fresh=EvalResult.from_round(runner.steps, fresh),
            tuned=EvalResult.from_round(runner.steps, tuned).until(count),
            tuned_lr=lr,
            gain=float(gain.mean()),
            gain_ci95=float(half_width(gain)),
            name=start_name(config.meta_learning.algorithm),
        )
        if joint is not None:
            other = _checked_meta(runner, joint)
            lr, count, joint_runner = _tune(runner, other, JOINT_LR_FACTORS, advance)
            scored = _score(joint_runner, other, shards, advance)
            gain = _gain(meta, scored, count)
            comparison = replace(
                comparison,
                joint=EvalResult.from_round(runner.steps, scored).until(count),
                joint_lr=lr,
                over_joint=float(gain.mean()),
                over_joint_ci95=float(half_width(gain)),
            )
        comparisons[k] = comparison
    return comparisons


def _gain(meta: RoundResult, other: RoundResult, count: int) -> np.ndarray:
    """(episodes,) accuracy gained, or loss reduced.

    Args:
        meta: Scored after the last step.
        other: Scored after the last of its first `count` numbers of steps.
        count: See `_tune`.
    """
    name = "acc" if "acc" in meta.names() else "loss"
    gain: np.ndarray = (
        meta.over_tasks(name)[:, -1] - other.over_tasks(name)[:, count - 1]
    )
    return gain if name == "acc" else -gain


def _to_try(config: RunConfig, factors: Sequence[float]) -> Sequence[float]:
    """The step sizes to select from; a head that is fitted has none to choose."""
    return factors if config.evaluation.head == INNER_STEPS else (1.0,)


def comparison_size(
    config: RunConfig, k_shots: Sequence[int], episodes: int, *, joint: bool = False
) -> int:
    """Episodes that `compare` adapts to: the test's for each start, and tuning."""
    validation = config.evaluation.num_val_episodes
    of_k = 3 * episodes + len(_to_try(config, LR_FACTORS)) * validation
    if joint:
        of_k += episodes + len(_to_try(config, JOINT_LR_FACTORS)) * validation
    return len(k_shots) * of_k


def fresh_start(runner: ShardRunner) -> ParamTree:
    """The meta-state of a fresh initialisation, other than that of training."""
    config = runner.config
    model = build_model(
        config.model,
        runner.tasks.input_shape,
        runner.tasks.num_outputs,
        config.run.seed,
        Purpose.BASELINE,
        peft=config.peft,
    )
    # It has seen nothing, so it has no running statistics: it takes the batch's.
    inner = replace(runner.inner, batch_norm="batch")
    return state.new(model, inner, config.run.seed, Purpose.BASELINE)


def _tune(
    runner: ShardRunner,
    start: ParamTree,
    factors: Sequence[float],
    advance: EpisodeCallback,
) -> tuple[float, int, ShardRunner]:
    """Select the step size and the number of steps that suit a start best.

    The choice is made on validation tasks.

    Args:
        runner: Of the run.
        start: The start.
        factors: The multiples of its `inner_lr` to select from.
        advance: Called with the number of episodes that were scored.

    Returns:
        The step size, how many of the runner's numbers of steps to take, and a runner
        with that step size.
    """
    config = runner.config
    best: tuple[EvalResult, float, ShardRunner] | None = None
    for factor in _to_try(config, factors):
        lr = config.meta_learning.inner_lr * factor
        changed = config.with_changes(meta_learning={"inner_lr": lr})
        candidate = ShardRunner(changed, runner.tasks, runner.model)
        shards = validation_shards(candidate.config, candidate.tasks, 0)
        own = _with_rates_of(candidate, start)
        scored = _score(candidate, own, shards, advance)
        result = EvalResult.from_round(candidate.steps, scored).until_best()
        if best is None or result.better_than(best[0]):
            best = (result, lr, candidate)
    if best is None:
        raise AssertionError
    return best[1], len(best[0].steps), best[2]


def _with_rates_of(runner: ShardRunner, start: ParamTree) -> ParamTree:
    """A fresh start whose learned step sizes, if it has such, are the runner's own."""
    rates = [name for name in start if name.startswith(RATE)]
    if not rates:
        return start
    own = runner.initial_meta()
    return start | {name: own[name] for name in rates}


def _score(
    runner: ShardRunner,
    meta: ParamTree,
    shards: Sequence[Shard],
    advance: EpisodeCallback,
) -> RoundResult:
    """Run shards in this process; `advance` gets the number of episodes of each."""
    updates = RoundUpdates(summed=True)
    for shard in shards:
        updates.add(runner.run(meta, shard))
        advance(len(shard.tasks))
    return updates.result()


def _episode_counter(progress: EpisodeCallback | None) -> EpisodeCallback:
    """A function that adds up episodes and calls `progress` with their total."""
    done = 0

    def advance(count: int) -> None:
        nonlocal done
        done += count
        if progress is not None:
            progress(done)

    return advance


def _checked_meta(runner: ShardRunner, trained: Trained) -> ParamTree:
    """The trained meta-state, checked against the model.

    A training head is left out, and so is carried state that the configuration has no
    use for.

    Raises:
        ConfigError: If it wants statistics of batch norms, and there are none.
    """
    leaves = state.without_head(trained.meta)
    meta = state.fitted(leaves, runner.inner, f"checkpoint {trained.path}")
    expected = state.without_head(runner.schema)
    params.check_schema(expected, meta, f"checkpoint {trained.path}")
    return meta


def _warn_if_data_changed(runner: ShardRunner, trained: Trained) -> None:
    """Warn if the data are not those of training."""
    path = trained.path
    run_dir = path.parent if path.is_file() else path.parents[1]
    changed = run_data.changed(run_dir, runner)
    if changed:
        log.warning(
            "%s changed since %s was trained: classes of its training may now be in "
            "the test set",
            ", ".join(changed),
            path,
        )
