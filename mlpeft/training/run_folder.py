"""Creates a run in its folder, and resumes it.

Resuming first repairs the folder: it moves partial and broken steps out of the way and
points `best` at the step that the state names.
"""

from __future__ import annotations

import copy
import hashlib
import json
import logging
from typing import TYPE_CHECKING, Any

from mlpeft import params
from mlpeft.config import RunConfig, parse_yaml
from mlpeft.errors import CheckpointError, MlpeftError
from mlpeft.meta.compression import Compression
from mlpeft.meta.outer import OuterStep
from mlpeft.platform.home import expanded
from mlpeft.training import checkpoint, run_data, starts
from mlpeft.training.accepted import AcceptedLog
from mlpeft.training.checkpoint import Checkpoint, Progress
from mlpeft.training.run import Run
from mlpeft.training.run_files import write_whole

if TYPE_CHECKING:
    from pathlib import Path

    from mlpeft.params import ParamTree
    from mlpeft.training.runner import ShardRunner

log = logging.getLogger("mlpeft.train")


def run_folder(config: RunConfig) -> Path:
    """The folder of a run: `paths.checkpoint_dir / run.name`."""
    return expanded(config.paths.checkpoint_dir) / config.run.name


def as_begun(config: RunConfig) -> RunConfig:
    """The configuration, with what it leaves open as it was when its run began.

    A newer mlpeft, or this machine, may choose another strategy, which has other bits;
    and fused may have been asked for where it could not be had.

    Args:
        config: Before `auto` is resolved.
    """
    file = run_folder(config) / "config.yaml"
    ours = config.compute
    is_open = ours.strategy in {"auto", "fused"} or ours.shard_size is None
    if not is_open or not file.is_file():
        return config
    try:
        begun = RunConfig.from_dict(parse_yaml(file.read_text(encoding="utf-8")))
    except (MlpeftError, OSError, UnicodeError):
        return config  # opening the run tells what is wrong
    recorded: dict[str, Any] = {}
    if ours.strategy in {"auto", "fused"}:
        recorded["strategy"] = strategy = begun.compute.strategy
        if ours.strategy == "fused" and strategy != "fused":
            log.warning(
                "this run was begun with compute.strategy %s, and so goes on", strategy
            )
    if ours.shard_size is None:
        recorded["shard_size"] = begun.compute.shard_size
    return config.model_copy(update={"compute": ours.model_copy(update=recorded)})


def open_run(runner: ShardRunner, *, resume: bool | None) -> Run:
    """Create or resume a run in its folder, which the caller has locked.

    Args:
        runner: Tasks and model, and the resolved configuration.
        resume: True: resume the run in the folder. False: create one. None: resume if
            there is one, for processes that a supervisor restarts.

    Raises:
        CheckpointError: If there is no run to resume, the folder of a new run holds
            another, or the configuration or the data differ.
    """
    config = runner.config
    run_dir = run_folder(config)
    checkpoint.clear_partial(run_dir)
    newest, skipped = checkpoint.newest(run_dir)
    if resume is None:
        resume = newest is not None
    if not resume:
        _check_no_run(run_dir, newest, skipped)
        runner.settle_strategy()
        return _create(runner.config, runner, run_dir)
    if newest is None:
        raise CheckpointError(
            f"nothing to resume in {run_dir}{_problems(skipped)}; start without "
            "--resume"
        )
    return _resume(config, runner, run_dir, newest, skipped)


def create_run(config: RunConfig, meta: ParamTree) -> Path:
    """Create a run from an imported start, in a folder that the caller has locked.

    Args:
        config: With strategy and shard size resolved.
        meta: The initial meta-state, NumPy float32.

    Returns:
        The folder.

    Raises:
        CheckpointError: If it holds a run.
    """
    run_dir = run_folder(config)
    checkpoint.clear_partial(run_dir)
    _check_no_run(run_dir, *checkpoint.newest(run_dir))
    write_whole(run_dir / "config.yaml", config.for_others().to_yaml())
    checkpoint.save(run_dir, meta, {}, _first_progress(config))
    return run_dir


def check_unfinished(run: Run) -> None:
    """Refuse to continue a finished run.

    Raises:
        CheckpointError: If the run is finished.
    """
    if run.finished:
        raise CheckpointError(
            f"{run.run_dir} holds this run, done after {run.progress.iteration} "
            "meta-iterations; extend it (--resume --set "
            "meta_learning.num_meta_iterations=N), start another (--set "
            "run.name=NAME), or remove the folder"
        )


def identity(config: RunConfig) -> dict[str, Any]:
    """The settings that determine a run's bits, as flat keys."""
    tree = config.to_dict()
    free = {"num_meta_iterations", "eval_interval", "save_interval", "patience"}
    if config.meta_learning.outer_schedule != "constant":
        free.remove("num_meta_iterations")
    keys = {"run.seed": tree["run"]["seed"], "run.init": tree["run"]["init"]}
    if config.cluster.compression != "none":
        keys["cluster.compression"] = config.cluster.compression
        keys["cluster.topk"] = config.cluster.topk
    if config.cluster.compression == "powersgd":
        keys["cluster.powersgd_rank"] = config.cluster.powersgd_rank
    for section in ("meta_learning", "task_distribution", "model", "peft", "compute"):
        for key, value in tree[section].items():
            if section != "meta_learning" or key not in free:
                keys[f"{section}.{key}"] = value
    return keys


def _create(config: RunConfig, runner: ShardRunner, run_dir: Path) -> Run:
    meta = starts.initial_meta(runner, run_dir)
    write_whole(run_dir / "config.yaml", config.for_others().to_yaml())
    run_data.record(run_dir, runner)
    return Run(
        config=config,
        run_dir=run_dir,
        meta=meta,
        outer=outer_step(config),
        progress=_first_progress(config),
        accepted=_accepted(run_dir, 0),
    )


def _accepted(run_dir: Path, iterations: int) -> AcceptedLog:
    """The log of what counted, up to a checkpoint."""
    log = AcceptedLog(run_dir)
    log.cut(iterations)
    return log


def outer_step(config: RunConfig) -> OuterStep:
    """The outer step of a run, before its first iteration."""
    return OuterStep.from_config(config.meta_learning, Compression.from_config(config))


def _first_progress(config: RunConfig) -> Progress:
    return Progress(config_digest=_identity_digest(config), validation_due=True)


def _check_no_run(run_dir: Path, newest: Checkpoint | None, skipped: list[str]) -> None:
    if newest is not None or skipped:
        raise CheckpointError(
            f"{run_dir} already holds a run{_problems(skipped)}; resume it "
            "(--resume), start another (--set run.name=NAME), or remove the folder"
        )


def _resume(
    config: RunConfig,
    runner: ShardRunner,
    run_dir: Path,
    newest: Checkpoint,
    skipped: list[str],
) -> Run:
    _check_same_run(config, run_dir, newest)
    _check_same_data(run_dir, runner)
    params.check_schema(runner.schema, newest.meta, f"checkpoint {newest.path}")
    checkpoint.set_aside_after(run_dir, newest.path)
    # It may be extended.
    write_whole(run_dir / "config.yaml", config.for_others().to_yaml())
    best = checkpoint.step_folder(run_dir, newest.progress.best_iteration)
    if best.is_dir() and best != checkpoint.best(run_dir):
        # The process died after writing the step and before marking it as best.
        checkpoint.mark_best(run_dir, best)
    outer = outer_step(config)
    outer.state = newest.outer
    return Run(
        config=config,
        run_dir=run_dir,
        meta={name: newest.meta[name] for name in sorted(newest.meta)},
        outer=outer,
        progress=newest.progress,
        accepted=_accepted(run_dir, newest.progress.iteration),
        notes=[
            *(f"skipped a broken checkpoint: {problem}" for problem in skipped),
            *newest.progress.otherwise_told,
        ],
        _saved=copy.copy(newest.progress),
    )


def _check_same_data(run_dir: Path, runner: ShardRunner) -> None:
    """Refuse to resume if the data changed since the run started."""
    changed = run_data.changed(run_dir, runner)
    if changed:
        raise CheckpointError(
            f"{run_dir} was started with other data: {', '.join(changed)} changed "
            "since. Restore the data (a data set of the hub by its @REVISION), or "
            "start another run with --set run.name=NAME"
        )
    if not (run_dir / run_data.FILE).is_file():  # `mlpeft import` created the run
        run_data.record(run_dir, runner)


def _problems(skipped: list[str]) -> str:
    """Why checkpoints were skipped, for a message."""
    return f" ({'; '.join(skipped)})" if skipped else ""


def _identity_digest(config: RunConfig) -> str:
    text = json.dumps(identity(config), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _check_same_run(config: RunConfig, run_dir: Path, newest: Checkpoint) -> None:
    """Refuse to resume with another configuration, naming the keys that differ."""
    if newest.progress.config_digest == _identity_digest(config):
        return
    file = run_dir / "config.yaml"
    if not file.is_file():
        raise CheckpointError(
            f"{run_dir} was made by another configuration and its config.yaml is gone; "
            "resume with the original configuration, or start another run with --set "
            "run.name=NAME"
        )
    text = file.read_text(encoding="utf-8")
    original = identity(RunConfig.from_dict(parse_yaml(text)))
    ours = identity(config)
    changes = [
        f"{key} was {original.get(key)!r}, is {ours.get(key)!r}"
        for key in sorted({*ours, *original})
        if original.get(key) != ours.get(key)
    ]
    if not changes:  # a newer mlpeft has more keys, all with their defaults
        return
    raise CheckpointError(
        f"{run_dir} was made by another configuration: {'; '.join(changes)}. "
        f"{_schedule_note(config, original)}Resume with the original, or start another "
        "run with --set run.name=NAME"
    )


def _schedule_note(config: RunConfig, original: dict[str, Any]) -> str:
    """Why a run whose step size follows its length cannot be extended."""
    key = "meta_learning.num_meta_iterations"
    schedule = config.meta_learning.outer_schedule
    if original.get(key, config.meta_learning.num_meta_iterations) == (
        config.meta_learning.num_meta_iterations
    ):
        return ""
    return (
        f"meta_learning.outer_schedule {schedule} spreads outer_lr over all "
        "meta-iterations, so those that are done would have had other steps; only "
        "outer_schedule constant can be extended. "
    )
