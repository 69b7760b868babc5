"""The training loop: ask for a round's updates, take the outer step, write it down.

It does not know who computes: an `Executor` does, in this process or on a cluster. What
happens in meta-iteration i depends on the meta-state, the configuration and i alone, so
a run that was killed goes on as if nothing had been.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from mlpeft import checkpoint, params
from mlpeft.checkpoint import Progress
from mlpeft.config import RunConfig, parse_yaml
from mlpeft.errors import CheckpointError, MlpeftError
from mlpeft.meta.aggregate import combine
from mlpeft.meta.outer import OuterStep
from mlpeft.meta.plan import train_shards, validation_shards
from mlpeft.meta.runner import LocalExecutor, ShardRunner
from mlpeft.reporting import JsonlReporter
from mlpeft.results import EvalResult
from mlpeft.work import RoundInterruptedError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from mlpeft.params import ParamTree
    from mlpeft.reporting import Reporter
    from mlpeft.work import Executor, ShardUpdate


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainResult:
    """How a training ended.

    Attributes:
        run_dir: The run's folder.
        iteration: Meta-iterations done.
        meta: The last meta-state.
        best: The best validation, if there was one.
        reason: "done", "stopped" (asked to) or "patience" (no better for long).
    """

    run_dir: Path
    iteration: int
    meta: ParamTree
    best: EvalResult | None
    reason: str


@dataclass(slots=True, kw_only=True)
class _Run:
    """The changing state of one training."""

    config: RunConfig
    run_dir: Path
    meta: ParamTree
    outer: OuterStep
    progress: Progress
    reporter: Reporter
    saved: int = -1
    notes: list[str] = field(default_factory=list)

    def save(self) -> Path:
        """Write a checkpoint of where the run is, unless it is there already."""
        path = self.run_dir / checkpoint.STEPS / f"{self.progress.iteration:08d}"
        if self.saved != self.progress.iteration:
            path = checkpoint.save(
                self.run_dir, self.meta, self.outer.state, self.progress
            )
            self.saved = self.progress.iteration
            self.reporter.checkpoint(self.progress.iteration, path)
        return path


def run_folder(config: RunConfig) -> Path:
    """Where a run keeps everything: `paths.checkpoint_dir / run.name`."""
    return config.paths.checkpoint_dir / config.run.name


def train(
    config: RunConfig,
    *,
    runner: ShardRunner | None = None,
    executor: Executor | None = None,
    reporter: Reporter | None = None,
    resume: bool = False,
    should_stop: Callable[[], bool] = lambda: False,
) -> TrainResult:
    """Meta-train as configured.

    Args:
        config: The configuration.
        runner: Tasks and model; None: built from the configuration.
        executor: Who computes; None: this process. Not closed here.
        reporter: Who is told; None: `metrics.jsonl` alone.
        resume: Go on from the newest sound checkpoint of the run's folder.
        should_stop: Asked after every meta-iteration; True: save and return.

    Raises:
        CheckpointError: If the folder is in use, holds a run already (and `resume` is
            not set), holds none (and it is), or was made by another configuration.
        MlpeftError: If theta or the loss is no longer finite.
    """
    runner = runner or ShardRunner.from_config(config)
    config = runner.config
    executor = executor or LocalExecutor(runner)
    run_dir = run_folder(config)
    with checkpoint.locked(run_dir):
        run = _open(config, runner, run_dir, resume=resume)
        run.reporter = reporter or JsonlReporter()
        run.reporter.start(config, run_dir, run.progress.iteration)
        for note in run.notes:
            run.reporter.message(note)
        try:
            try:
                reason = _loop(run, runner, executor, should_stop)
            except RoundInterruptedError:
                reason = "stopped"
            run.save()
            checkpoint.prune(run_dir, config.paths.keep_last)
        finally:
            run.reporter.close()
    best = EvalResult.from_dict(run.progress.best) if run.progress.best else None
    return TrainResult(
        run_dir=run_dir,
        iteration=run.progress.iteration,
        meta=run.meta,
        best=best,
        reason=reason,
    )


def _loop(
    run: _Run, runner: ShardRunner, executor: Executor, should_stop: Callable[[], bool]
) -> str:
    """Meta-iterations until the end, and why it is the end."""
    settings = run.config.meta_learning
    progress = run.progress
    if progress.iteration == 0:
        progress.best = {}
        _validate(run, runner, executor)
    while progress.iteration < settings.num_meta_iterations:
        if settings.patience is not None and progress.stale >= settings.patience:
            run.reporter.message(
                f"stopping early: no better validation in the last {progress.stale}"
            )
            return "patience"
        if should_stop():
            return "stopped"
        shards = train_shards(run.config, runner.tasks, progress.iteration)
        updates = executor.run(progress.iteration, run.meta, shards)
        mean = combine(updates, settings.aggregation, settings.trim_fraction)
        moved = run.outer.step(run.meta, mean, progress.iteration)
        metrics = _metrics(updates) | {
            "param_diff": moved.param_diff,
            "outer_lr": moved.outer_lr,
        }
        _check_finite(metrics, progress.iteration)
        run.meta = moved.meta
        progress.iteration += 1
        run.reporter.iteration(progress.iteration, metrics)
        last = progress.iteration == settings.num_meta_iterations
        if progress.iteration % settings.eval_interval == 0 or last:
            _validate(run, runner, executor)
        if progress.iteration % settings.save_interval == 0:
            run.save()
            checkpoint.prune(run.run_dir, run.config.paths.keep_last)
    return "done"


def _validate(run: _Run, runner: ShardRunner, executor: Executor) -> None:
    """Score the validation episodes; keep the checkpoint if none was better."""
    progress = run.progress
    shards = validation_shards(run.config, runner.tasks, progress.iteration)
    updates = executor.run(progress.iteration, run.meta, shards)
    result = gather(runner.steps, updates)
    run.reporter.validation(progress.iteration, result)
    best = EvalResult.from_dict(progress.best) if progress.best else None
    if best is not None and not result.better_than(best):
        progress.stale += 1
        return
    progress.best, progress.best_iteration = result.to_dict(), progress.iteration
    progress.stale = 0
    checkpoint.mark_best(run.run_dir, run.save())


def gather(steps: Sequence[int], updates: Sequence[ShardUpdate]) -> EvalResult:
    """The scores of all shards as means with intervals."""
    ordered = sorted(updates, key=lambda update: update.index)
    loss = np.concatenate([update.per_task["loss"] for update in ordered])
    acc = None
    if "acc" in ordered[0].per_task:
        acc = np.concatenate([update.per_task["acc"] for update in ordered])
    return EvalResult.from_per_episode(tuple(steps), loss, acc)


def _metrics(updates: Sequence[ShardUpdate]) -> dict[str, float]:
    """Means over the tasks of a round."""
    ordered = sorted(updates, key=lambda update: update.index)
    return {
        name: float(np.concatenate([u.per_task[name] for u in ordered]).mean())
        for name in ordered[0].per_task
    }


def _check_finite(metrics: dict[str, float], iteration: int) -> None:
    bad = [name for name, value in metrics.items() if not np.isfinite(value)]
    if bad:
        raise MlpeftError(
            f"meta-iteration {iteration}: {', '.join(bad)} is not finite; lower "
            "meta_learning.inner_lr or set meta_learning.inner_grad_clip. The "
            "checkpoints before this are sound"
        )


def _open(
    config: RunConfig, runner: ShardRunner, run_dir: Path, *, resume: bool
) -> _Run:
    """A new run in its folder, or the one that is there."""
    outer = OuterStep.from_config(config.meta_learning)
    meta = runner.initial_meta()
    found, skipped = checkpoint.newest(run_dir)
    if not resume:
        if found is not None or skipped:
            raise CheckpointError(
                f"{run_dir} holds a run already; go on with it (--resume), name "
                "another (--set run.name=NAME), or remove the folder"
            )
        (run_dir / "config.yaml").write_text(config.to_yaml(), encoding="utf-8")
        progress = Progress(config_digest=_identity_digest(config))
        return _Run(
            config=config,
            run_dir=run_dir,
            meta=meta,
            outer=outer,
            progress=progress,
            reporter=JsonlReporter(),
        )
    if found is None:
        story = f" ({'; '.join(skipped)})" if skipped else ""
        raise CheckpointError(
            f"nothing to resume in {run_dir}{story}; start it without --resume"
        )
    _check_same_run(config, run_dir, found)
    params.check_schema(params.schema(meta), found.meta, f"checkpoint {found.path}")
    outer.state = found.outer
    return _Run(
        config=config,
        run_dir=run_dir,
        meta={name: found.meta[name] for name in sorted(found.meta)},
        outer=outer,
        progress=found.progress,
        reporter=JsonlReporter(),
        saved=found.progress.iteration,
        notes=[f"skipped a broken checkpoint: {problem}" for problem in skipped],
    )


def identity(config: RunConfig) -> dict[str, Any]:
    """The part of a configuration that decides a run's bits, as flat keys."""
    tree = config.to_dict()
    free = {"num_meta_iterations", "eval_interval", "save_interval", "patience"}
    if config.meta_learning.outer_schedule != "constant":
        free.remove("num_meta_iterations")
    keys = {"run.seed": tree["run"]["seed"]}
    for section in ("meta_learning", "task_distribution", "model", "peft", "compute"):
        for key, value in tree[section].items():
            if section != "meta_learning" or key not in free:
                keys[f"{section}.{key}"] = value
    return keys


def _identity_digest(config: RunConfig) -> str:
    text = json.dumps(identity(config), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _check_same_run(
    config: RunConfig, run_dir: Path, found: checkpoint.Checkpoint
) -> None:
    """Refuse to go on with another run's checkpoint, naming the keys that differ."""
    if found.progress.config_digest == _identity_digest(config):
        return
    file = run_dir / "config.yaml"
    if not file.is_file():
        raise CheckpointError(
            f"{run_dir} was made by another configuration; its config.yaml is gone: "
            "resume with the one that it was started with, or start another run with "
            "--set run.name=NAME"
        )
    text = file.read_text(encoding="utf-8")
    before = identity(RunConfig.from_dict(parse_yaml(text)))
    changes = [
        f"{key} was {before.get(key)!r}, is {value!r}"
        for key, value in identity(config).items()
        if before.get(key) != value
    ]
    if not changes:  # a newer mlpeft has more keys, all at their defaults
        return
    raise CheckpointError(
        f"{run_dir} was made by another configuration: {'; '.join(changes)}. Resume "
        "with the same, or start another run with --set run.name=NAME"
    )
