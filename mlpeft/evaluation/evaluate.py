"""Scores what was learned, with intervals, and against a fresh start."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mlpeft import params
from mlpeft.meta import state
from mlpeft.meta.functional import get_params
from mlpeft.models.build import build_model
from mlpeft.results import EvalResult, half_width, jsonable
from mlpeft.seeds import Purpose
from mlpeft.training import run_data
from mlpeft.training.plan import test_shards, validation_shards
from mlpeft.training.runner import ShardRunner
from mlpeft.work import RoundUpdates

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy as np

    from mlpeft.config import RunConfig
    from mlpeft.params import ParamTree
    from mlpeft.training.trained import Trained
    from mlpeft.work import Executor, RoundResult, Shard

    Progress = Callable[[int], None]

log = logging.getLogger("mlpeft.evaluate")


def evaluate(
    trained: Trained,
    episodes: int | None = None,
    *,
    runner: ShardRunner | None = None,
    executor: Executor | None = None,
    progress: Progress | None = None,
) -> EvalResult:
    """Adapt to test episodes from a trained start and score their queries.

    Args:
        trained: What to start from, and how.
        episodes: How many; None: `evaluation.num_test_episodes`.
        runner: Tasks and model; None: built from the configuration.
        executor: Who computes; None: this process.
        progress: Called with the number of episodes done.

    Raises:
        ParamMismatch: If the checkpoint does not fit the configured model.
    """
    runner = runner or ShardRunner.from_config(trained.config)
    _tell_if_changed(runner, trained)
    meta = _fitting(runner, trained)
    number = episodes or runner.config.evaluation.num_test_episodes
    shards = test_shards(runner.config, runner.tasks, number)
    if executor is not None:
        result = executor.run(0, meta, shards)
    else:
        result = _score(runner, meta, shards, _counting(progress))
    return EvalResult.from_round(runner.steps, result)


@dataclass(frozen=True, slots=True)
class Comparison:
    """Starting points compared on the same test episodes, for one k.

    Attributes:
        meta: The meta-learned start.
        fresh: A fresh initialisation, adapted in the same way.
        tuned: The same with the inner step size that suits it best on validation tasks:
            what one would do without meta-learning.
        tuned_lr: That step size.
        gain: Paired difference of meta to tuned after the last step (accuracy, or for
            regression and sequences the loss that was saved).
        gain_ci95: Half width of its 95 % interval; NaN for a single episode.
    """

    meta: EvalResult
    fresh: EvalResult
    tuned: EvalResult
    tuned_lr: float
    gain: float
    gain_ci95: float

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {
            "meta": self.meta.to_dict(),
            "fresh": self.fresh.to_dict(),
            "tuned": self.tuned.to_dict(),
            "tuned_lr": self.tuned_lr,
            "gain": self.gain,
            "gain_ci95": jsonable(self.gain_ci95),
        }


LR_FACTORS = (0.3, 1.0, 3.0, 10.0, 30.0)
"""Multiples of `inner_lr` that the tuned baseline chooses from."""


def compare(
    trained: Trained,
    k_shots: Sequence[int],
    episodes: int | None = None,
    *,
    progress: Progress | None = None,
) -> dict[int, Comparison]:
    """A meta-learned start against a fresh initialisation, on the same episodes.

    Args:
        trained: The meta-learned start.
        k_shots: Support sizes (`task_distribution.k_shot`) to compare at.
        episodes: Episodes for each; None: `evaluation.num_test_episodes`.
        progress: Called with the number of episodes done, of `comparison_size`.
    """
    number = episodes or trained.config.evaluation.num_test_episodes
    table: dict[int, Comparison] = {}
    advance = _counting(progress)
    for k in k_shots:
        config = trained.config.with_changes(task_distribution={"k_shot": k})
        runner = ShardRunner.from_config(config)
        if not table:
            _tell_if_changed(runner, trained)
        fresh = _fresh_start(runner)
        shards = test_shards(runner.config, runner.tasks, number)
        meta = _score(runner, _fitting(runner, trained), shards, advance)
        same = _score(runner, fresh, shards, advance)
        lr, tuned_runner = _tune(runner, fresh, advance)
        tuned = _score(tuned_runner, fresh, shards, advance)
        gain = _last_scores(meta) - _last_scores(tuned)
        if "acc" not in meta.names():
            gain = -gain
        table[k] = Comparison(
            meta=EvalResult.from_round(runner.steps, meta),
            fresh=EvalResult.from_round(runner.steps, same),
            tuned=EvalResult.from_round(runner.steps, tuned),
            tuned_lr=lr,
            gain=float(gain.mean()),
            gain_ci95=float(half_width(gain)),
        )
    return table


def comparison_size(config: RunConfig, k_shots: Sequence[int], episodes: int) -> int:
    """Episodes that `compare` adapts to: test episodes thrice, and those to tune on."""
    tuning = len(LR_FACTORS) * config.evaluation.num_val_episodes
    return len(k_shots) * (3 * episodes + tuning)


def _fresh_start(runner: ShardRunner) -> ParamTree:
    """The meta-state of an initialisation that training has not seen."""
    config = runner.config
    fresh = build_model(
        config.model,
        runner.tasks.input_shape,
        runner.tasks.num_outputs,
        config.run.seed,
        Purpose.BASELINE,
        peft=config.peft,
    )
    return state.initial(get_params(fresh), runner.inner)


def _tune(
    runner: ShardRunner, start: ParamTree, advance: Progress
) -> tuple[float, ShardRunner]:
    """The inner step size that suits a start best on validation tasks."""
    config = runner.config
    best: tuple[EvalResult, float, ShardRunner] | None = None
    for factor in LR_FACTORS:
        lr = config.meta_learning.inner_lr * factor
        changed = config.with_changes(meta_learning={"inner_lr": lr})
        candidate = ShardRunner(changed, runner.tasks, runner.model)
        shards = validation_shards(candidate.config, candidate.tasks, 0)
        scored = _score(candidate, start, shards, advance)
        result = EvalResult.from_round(candidate.steps, scored)
        if best is None or result.better_than(best[0]):
            best = (result, lr, candidate)
    if best is None:
        raise AssertionError
    return best[1], best[2]


def _score(
    runner: ShardRunner, meta: ParamTree, shards: Sequence[Shard], advance: Progress
) -> RoundResult:
    """Compute shards here; `advance` gets the number of episodes of each."""
    updates = RoundUpdates(summed=True)
    for shard in shards:
        updates.add(runner.run(meta, shard))
        advance(len(shard.tasks))
    return updates.result()


def _counting(progress: Progress | None) -> Progress:
    """Takes how many episodes were just done; tells `progress` how many are by now."""
    done = 0

    def advance(count: int) -> None:
        nonlocal done
        done += count
        if progress is not None:
            progress(done)

    return advance


def _fitting(runner: ShardRunner, trained: Trained) -> ParamTree:
    """The trained meta-state, checked against the model."""
    meta = {name: trained.meta[name] for name in sorted(trained.meta)}
    params.check_schema(runner.schema, meta, f"checkpoint {trained.path}")
    return meta


def _tell_if_changed(runner: ShardRunner, trained: Trained) -> None:
    """Say so if the data are not what was trained on."""
    path = trained.path
    others = run_data.changed(
        path.parent if path.is_file() else path.parents[1], runner
    )
    if others:
        log.warning(
            "%s changed since %s was trained: classes that it trained on may be among "
            "those that it is tested on now",
            ", ".join(others),
            path,
        )


def _last_scores(result: RoundResult) -> np.ndarray:
    """Each episode's accuracy (or loss) after the last step."""
    return result.over_tasks("acc" if "acc" in result.names() else "loss")[:, -1]
