"""A run and its folder: begun, or taken up where a process left it.

A run that goes on begins by putting its folder in order: half-written and broken steps
are moved out of the way, and `best` names what the state says is the best.
"""

from __future__ import annotations

import copy
import hashlib
import json
import logging
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from mlpeft import params
from mlpeft.config import RunConfig, parse_yaml
from mlpeft.errors import CheckpointError
from mlpeft.meta.outer import OuterStep
from mlpeft.training import checkpoint, run_data
from mlpeft.training.checkpoint import Checkpoint, Progress

if TYPE_CHECKING:
    from pathlib import Path

    from mlpeft.params import ParamTree
    from mlpeft.reporting import Reporter
    from mlpeft.training.runner import ShardRunner

log = logging.getLogger("mlpeft.train")


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The state of a run at one moment. Its arrays are shared, and never written to."""

    meta: ParamTree
    outer: ParamTree
    progress: Progress


@dataclass(slots=True, kw_only=True)
class Run:
    """The changing state of one training.

    Attributes:
        config: With strategy and shard size settled.
        run_dir: The run's folder, which this process holds.
        meta: Theta and carried inner state, NumPy float32.
        outer: The outer step and its moments.
        progress: What else the run remembers.
        notes: What was found when the folder was opened, for people.
    """

    config: RunConfig
    run_dir: Path
    meta: ParamTree
    outer: OuterStep
    progress: Progress
    notes: list[str] = field(default_factory=list)
    _saved: Progress | None = None
    """The last progress that is on disk; None: nothing is."""
    _owed_best: Snapshot | None = None
    """The best step, as long as it could not be written."""
    _tried_at: float = field(default_factory=time.monotonic)
    """When it was last written, or tried."""

    @property
    def finished(self) -> bool:
        """Whether nothing is left to do."""
        settings, progress = self.config.meta_learning, self.progress
        if progress.validation_due:
            return False
        return progress.iteration >= settings.num_meta_iterations or self.patience_over

    @property
    def patience_over(self) -> bool:
        """Whether nothing has got better for `patience` validations."""
        patience = self.config.meta_learning.patience
        return patience is not None and self.progress.stale >= patience

    def note_best(self) -> None:
        """Let the next save write what is now as the best step."""
        self._owed_best = self._snapshot()

    @property
    def save_overdue(self) -> bool:
        """Whether more time passed than a killed run is to lose."""
        return time.monotonic() >= self._tried_at + self.config.paths.save_seconds

    def save(self, reporter: Reporter) -> None:
        """Write a checkpoint of where the run is, unless it is there already.

        Args:
            reporter: Is told.

        Raises:
            CheckpointError: If it cannot be written. What is on disk stays as it is,
                and a best step is kept in memory for the next time.
        """
        self._tried_at = time.monotonic()
        if self._owed_best is not None:
            step = self._write(self._owed_best, reporter)
            checkpoint.mark_best(self.run_dir, step)
            self._owed_best = None
        if self._saved != self.progress:
            self._write(self._snapshot(), reporter)
        checkpoint.prune(self.run_dir, self.config.paths.keep_last)

    def try_to_save(self, reporter: Reporter) -> None:
        """Save; if that fails go on without, and say so: the next time may succeed.

        Raises:
            CheckpointError: If it fails and nothing of the run is on disk yet.
        """
        try:
            self.save(reporter)
        except CheckpointError as error:
            if self._saved is None:
                raise
            log.warning(
                "meta-iteration %d is not saved: %s. The run goes on, and tries again "
                "at its next checkpoint; on disk it is at %d",
                self.progress.iteration,
                error,
                self._saved.iteration,
            )

    def _snapshot(self) -> Snapshot:
        return Snapshot(self.meta, dict(self.outer.state), copy.copy(self.progress))

    def _write(self, snapshot: Snapshot, reporter: Reporter) -> Path:
        iteration = snapshot.progress.iteration
        # Before: a process killed between the two would lack what was reported.
        reporter.checkpoint(iteration, checkpoint.step_folder(self.run_dir, iteration))
        path = checkpoint.save(
            self.run_dir, snapshot.meta, snapshot.outer, snapshot.progress
        )
        self._saved = snapshot.progress
        return path


def run_folder(config: RunConfig) -> Path:
    """Where a run keeps everything: `paths.checkpoint_dir / run.name`."""
    return config.paths.checkpoint_dir / config.run.name


def begin_or_go_on(runner: ShardRunner, *, resume: bool | None) -> Run:
    """The run of a configuration, in its folder, which the caller holds.

    Args:
        runner: Tasks and model, and the settled configuration.
        resume: True: go on with the run that is there. False: begin one. None: whatever
            applies; what a process that is started again by a machine wants.

    Raises:
        CheckpointError: If the folder holds no run to go on with, or one that is not
            to be written over, or one made by another configuration.
    """
    config = runner.config
    run_dir = run_folder(config)
    checkpoint.clear_partial(run_dir)
    found, skipped = checkpoint.newest(run_dir)
    if resume is None:
        resume = found is not None
    if not resume:
        _refuse_old(run_dir, found, skipped)
        return _begin(config, runner, run_dir)
    if found is None:
        raise CheckpointError(
            f"nothing to resume in {run_dir}{_story(skipped)}; start it without "
            "--resume"
        )
    return _go_on(config, runner, run_dir, found, skipped)


def begin_with(config: RunConfig, meta: ParamTree) -> Path:
    """A run with a start that no training made, in its folder, which the caller holds.

    Args:
        config: With strategy and shard size settled.
        meta: The meta-state to start with, NumPy float32.

    Returns:
        The folder.

    Raises:
        CheckpointError: If it holds a run already.
    """
    run_dir = run_folder(config)
    checkpoint.clear_partial(run_dir)
    _refuse_old(run_dir, *checkpoint.newest(run_dir))
    checkpoint.write_whole(run_dir / "config.yaml", config.to_yaml())
    outer = OuterStep.from_config(config.meta_learning)
    checkpoint.save(run_dir, meta, outer.state, _first_progress(config))
    return run_dir


def check_unfinished(run: Run) -> None:
    """Refuse to take up a run that is done, without having been told to.

    Raises:
        CheckpointError: If it is.
    """
    if run.finished:
        raise CheckpointError(
            f"{run.run_dir} holds this run, done after {run.progress.iteration} "
            "meta-iterations; ask for more of it (--resume --set "
            "meta_learning.num_meta_iterations=N), name another (--set run.name=NAME), "
            "or remove the folder"
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


def _begin(config: RunConfig, runner: ShardRunner, run_dir: Path) -> Run:
    checkpoint.write_whole(run_dir / "config.yaml", config.to_yaml())
    run_data.record(run_dir, runner)
    return Run(
        config=config,
        run_dir=run_dir,
        meta=runner.initial_meta(),
        outer=OuterStep.from_config(config.meta_learning),
        progress=_first_progress(config),
    )


def _first_progress(config: RunConfig) -> Progress:
    return Progress(config_digest=_identity_digest(config), validation_due=True)


def _refuse_old(run_dir: Path, found: Checkpoint | None, skipped: list[str]) -> None:
    if found is not None or skipped:
        raise CheckpointError(
            f"{run_dir} holds a run already{_story(skipped)}; go on with it "
            "(--resume), name another (--set run.name=NAME), or remove the folder"
        )


def _go_on(
    config: RunConfig,
    runner: ShardRunner,
    run_dir: Path,
    found: Checkpoint,
    skipped: list[str],
) -> Run:
    _check_same_run(config, run_dir, found)
    _check_same_data(run_dir, runner)
    expected = params.schema(runner.initial_meta())
    params.check_schema(expected, found.meta, f"checkpoint {found.path}")
    checkpoint.set_aside_after(run_dir, found.path)
    best = checkpoint.step_folder(run_dir, found.progress.best_iteration)
    if best.is_dir() and best != checkpoint.best(run_dir):
        # The process ended between writing the step and naming it.
        checkpoint.mark_best(run_dir, best)
    outer = OuterStep.from_config(config.meta_learning)
    outer.state = found.outer
    return Run(
        config=config,
        run_dir=run_dir,
        meta={name: found.meta[name] for name in sorted(found.meta)},
        outer=outer,
        progress=found.progress,
        notes=[f"skipped a broken checkpoint: {problem}" for problem in skipped],
        _saved=copy.copy(found.progress),
    )


def _check_same_data(run_dir: Path, runner: ShardRunner) -> None:
    """Refuse to go on with data that changed since the run began."""
    others = run_data.changed(run_dir, runner)
    if others:
        raise CheckpointError(
            f"{run_dir} was begun with other data: {', '.join(others)} changed since. "
            "Bring back what was there (a data set of the hub by its @REVISION), or "
            "start another run with --set run.name=NAME"
        )
    if not (run_dir / run_data.FILE).is_file():  # `mlpeft import` began it
        run_data.record(run_dir, runner)


def _story(skipped: list[str]) -> str:
    return f" ({'; '.join(skipped)})" if skipped else ""


def _identity_digest(config: RunConfig) -> str:
    text = json.dumps(identity(config), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _check_same_run(config: RunConfig, run_dir: Path, found: Checkpoint) -> None:
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
