"""The training loop: ask for a round, take the outer step, write it down.

It does not know who computes: an `Executor` does, in this process or on a cluster. What
happens in meta-iteration i depends on the meta-state, the configuration and i alone, so
a run that was killed goes on as if nothing had been.
"""

from __future__ import annotations

import contextlib
import logging
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mlpeft import params
from mlpeft.charts import notebook
from mlpeft.errors import CheckpointError, MlpeftError
from mlpeft.meta.aggregate import combine
from mlpeft.reporting import usual_reporter
from mlpeft.reporting.notify import Notice, send
from mlpeft.reporting.pace import SlowRounds
from mlpeft.reporting.terminal import printable
from mlpeft.results import EvalResult
from mlpeft.training.accepted import Accepted
from mlpeft.training.divergence import check_finite
from mlpeft.training.executor import IteratingExecutor
from mlpeft.training.plan import train_shards, validation_shards
from mlpeft.training.run_files import locked
from mlpeft.training.run_folder import as_begun, open_run, run_folder
from mlpeft.training.runner import ShardRunner
from mlpeft.training.staleness import ThetaHistory
from mlpeft.training.strides import Strides, advance
from mlpeft.work import ClosesEarly, Kind, RoundInterruptedError, TakesSteps

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from mlpeft.config import RunConfig
    from mlpeft.meta.outer import OuterResult, OuterStep
    from mlpeft.params import ParamTree
    from mlpeft.reporting import Reporter
    from mlpeft.rounds import RoundResult
    from mlpeft.training.run import Run
    from mlpeft.work import Executor

log = logging.getLogger("mlpeft.train")

AGAIN_S = 5.0
"""Seconds between tries to write the last checkpoint."""


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

    def __repr__(self) -> str:
        best = "not validated" if self.best is None else f"best {self.best.headline}"
        return (
            f"TrainResult({str(self.run_dir)!r}: {self.iteration} meta-iterations, "
            f"{self.reason}, {best}; meta: {params.summary(self.meta)})"
        )

    def _repr_html_(self) -> str:
        """What a notebook shows."""
        values = {
            "meta-iterations": f"{self.iteration:,} ({self.reason})",
            "best validation": "none" if self.best is None else self.best.headline,
            "meta": params.summary(self.meta),
            "folder": self.run_dir,
        }
        return notebook.facts(f"Run {self.run_dir.name}", values)


def train(
    config: RunConfig,
    *,
    runner: ShardRunner | None = None,
    executor: Executor | None = None,
    reporter: Reporter | None = None,
    resume: bool | None = False,
    should_stop: Callable[[], bool] = lambda: False,
) -> TrainResult:
    """Meta-train as configured.

    Args:
        config: The configuration.
        runner: Tasks and model; None: built from the configuration.
        executor: Who computes; None: this process. Not closed here.
        reporter: Who is told; None: `metrics.jsonl`, and in a notebook a bar.
        resume: Go on from the newest sound checkpoint of the run's folder; None: if
            there is one.
        should_stop: Asked after every meta-iteration; True: save and return.

    Raises:
        CheckpointError: If the folder is in use or cannot be written, holds a run
            already (and `resume` is False), holds none (and it is True), or was made by
            another configuration.
        MlpeftError: If theta or the loss is no longer finite.
    """
    # The folder comes first: building tasks and model can take long, for nothing.
    with locked(run_folder(config)):
        runner = runner or ShardRunner.from_config(as_begun(config))
        run = open_run(runner, resume=resume)
        return train_run(
            run,
            runner,
            executor=executor or IteratingExecutor(runner, SlowRounds()),
            reporter=reporter or usual_reporter(),
            should_stop=should_stop,
        )


def train_run(
    run: Run,
    runner: ShardRunner,
    *,
    executor: Executor,
    reporter: Reporter,
    should_stop: Callable[[], bool],
) -> TrainResult:
    """Bring a run to its end; the caller holds its folder.

    Args:
        run: From `open_run`.
        runner: Tasks and model.
        executor: Who computes. Not closed here.
        reporter: Who is told; closed here.
        should_stop: See `train`.

    Raises:
        CheckpointError: If the end cannot be written.
        MlpeftError: If theta or the loss is no longer finite, or a round fails; what
            was done before is saved.
    """
    begun_at = run.progress.iteration
    reporter.start(run.config, run.run_dir, begun_at)
    try:
        for note in run.notes:
            reporter.message(note)
        try:
            reason = _loop(run, runner, executor, reporter, should_stop)
        except RoundInterruptedError:
            reason = "stopped"
        except Exception as error:
            with contextlib.suppress(CheckpointError):
                run.save(reporter)
            _notify(run, "failed", f"{error}")
            raise
        _save_end(run, reporter, should_stop)
    finally:
        reporter.close()
    best = EvalResult.from_dict(run.progress.best) if run.progress.best else None
    if begun_at != run.progress.iteration and reason != "stopped":
        score = "not validated" if best is None else f"best validation {best.headline}"
        _notify(run, reason, score)
    return TrainResult(
        run_dir=run.run_dir,
        iteration=run.progress.iteration,
        meta=run.meta,
        best=best,
        reason=reason,
    )


def _notify(run: Run, reason: str, text: str) -> None:
    """Tell whom the user wants told, if anybody, how the run ended."""
    name, settings = run.config.run.name, run.config.meta_learning
    ended = "failed" if reason == "failed" else "is done"
    done = f"{run.progress.iteration} of {settings.num_meta_iterations}"
    notice = Notice.of(
        name,
        reason,
        f"mlpeft run {name} {ended} after {done} meta-iterations: {text}",
        run.run_dir.absolute(),
    )
    send(run.config.notify, notice)


def _loop(
    run: Run,
    runner: ShardRunner,
    executor: Executor,
    reporter: Reporter,
    should_stop: Callable[[], bool],
) -> str:
    """Meta-iterations until the end, and why it is the end."""
    settings = run.config.meta_learning
    progress = run.progress
    history = ThetaHistory.of(run.config)
    strides = Strides(run, runner, executor)
    while True:
        better = progress.validation_due and _validate(run, runner, executor, reporter)
        due = progress.iteration % settings.save_interval == 0 or run.save_overdue
        if better or (due and progress.iteration):
            run.try_to_save(reporter)
        if progress.iteration >= settings.num_meta_iterations:
            return "done"
        if run.patience_over:
            reporter.message(
                f"stopping early: no better validation in the last {progress.stale}"
            )
            return "patience"
        if strides.stopped or should_stop():
            return "stopped"
        if not strides.take(reporter, should_stop):
            _round(run, runner, executor, reporter, history)


def _round(
    run: Run,
    runner: ShardRunner,
    executor: Executor,
    reporter: Reporter,
    history: ThetaHistory,
) -> None:
    """One meta-iteration: a round, and the outer step."""
    early = isinstance(executor, ClosesEarly) and executor.closes_early
    spare = isinstance(executor, ClosesEarly) and executor.spare_shards
    iteration = run.progress.iteration
    history.note(iteration, run.meta)
    shards = train_shards(run.config, runner.tasks, iteration, spare=spare)
    done = executor.run(iteration, run.meta, shards)
    with _usable(run):
        accepted = Accepted.of(iteration, done)
        done = history.joined(done, iteration)
        moved = moved_by(run.outer, run.config, run.meta, done, iteration)
        metrics = _metrics(done) | {
            "param_diff": moved.param_diff,
            "outer_lr": moved.outer_lr,
        }
        if early:
            metrics["shards_in_time"] = len(accepted.shards)
            metrics["shards_late"] = len(accepted.late)
        check_finite(metrics, run, runner.initial_meta)
    if early:
        run.accepted.note(accepted)
    _note_otherwise(run, Kind.TRAIN, done, reporter)
    advance(run, moved.meta, 1)
    if moved.step and isinstance(executor, TakesSteps):
        executor.note_step(run.progress.iteration, moved.step)
    reporter.iteration(run.progress.iteration, metrics)


def moved_by(
    outer: OuterStep,
    config: RunConfig,
    meta: ParamTree,
    done: RoundResult,
    iteration: int,
) -> OuterResult:
    """The outer step that a round's result leads to.

    Args:
        outer: The outer optimiser; its moments are changed.
        config: The run's.
        meta: The meta-state before.
        done: What the round returned, late updates among the totals.
        iteration: Meta-iterations before.
    """
    settings = config.meta_learning
    mean = combine(done.totals, settings.aggregation, settings.trim_fraction)
    return outer.step(meta, mean, iteration)


def _validate(
    run: Run, runner: ShardRunner, executor: Executor, reporter: Reporter
) -> bool:
    """Score the validation episodes; whether none was better before."""
    progress = run.progress
    shards = validation_shards(run.config, runner.tasks, progress.iteration)
    done = executor.run(progress.iteration, run.meta, shards)
    with _usable(run):
        result = EvalResult.from_round(runner.steps, done)
    progress.validation_due = False
    _note_otherwise(run, Kind.VALIDATE, done, reporter)
    reporter.validation(progress.iteration, result)
    best = EvalResult.from_dict(progress.best) if progress.best else None
    if best is not None and not result.better_than(best):
        progress.stale += 1
        return False
    progress.best, progress.best_iteration = result.to_dict(), progress.iteration
    progress.stale = 0
    run.note_best()
    return True


def _note_otherwise(
    run: Run, kind: Kind, done: RoundResult, reporter: Reporter
) -> None:
    """Record and tell once that not all was computed with the run's strategy."""
    progress = run.progress
    if not done.otherwise or kind in progress.otherwise:
        return
    # A worker may have written it.
    how = printable(done.otherwise)
    text = f"since meta-iteration {progress.iteration} some shards are computed {how}"
    progress.otherwise = progress.otherwise | {kind.value: text}
    reporter.message(f"{text} ({kind})")


@contextlib.contextmanager
def _usable(run: Run) -> Iterator[None]:
    """Use what a round returned; if that fails the run is as it was before.

    Raises:
        MlpeftError: Whatever the error, so that it is told in one sentence.
    """
    moments = dict(run.outer.state)
    try:
        yield
    except Exception as error:
        run.outer.state = moments
        if isinstance(error, MlpeftError):
            raise
        raise MlpeftError(
            f"meta-iteration {run.progress.iteration}: what the round returned cannot "
            f"be used ({type(error).__name__}: {error}). What was done before is "
            "saved; start again with --resume"
        ) from error


def _save_end(run: Run, reporter: Reporter, should_stop: Callable[[], bool]) -> None:
    """Write the last checkpoint: if the disk is full wait for room, and say so.

    Raises:
        CheckpointError: If it cannot be written and someone asks, or has asked, to
            stop.
    """
    while True:
        try:
            return run.save(reporter)
        except CheckpointError as error:
            if should_stop():
                raise
            log.error(  # noqa: TRY400 - its text says all
                "the end of the run is not saved: %s. Trying again every %g s; Ctrl-C "
                "gives it up",
                error,
                AGAIN_S,
            )
        deadline = time.monotonic() + AGAIN_S
        while time.monotonic() < deadline and not should_stop():
            time.sleep(AGAIN_S / 20)


def _metrics(result: RoundResult) -> dict[str, float]:
    """Means over the tasks of a round."""
    return {name: float(result.over_tasks(name).mean()) for name in result.names()}
