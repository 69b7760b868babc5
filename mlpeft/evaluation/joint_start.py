"""The baseline of a meta-learned run: joint training for as many gradients.

It is a run of its own in the folder `joint` of the run's folder, so it is trained once,
resumes where it was stopped, and can be looked at like any other.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from mlpeft.config import RunConfig
from mlpeft.meta.algorithms import ALGORITHMS
from mlpeft.training import checkpoint
from mlpeft.training.loop import train
from mlpeft.training.run_folder import run_folder
from mlpeft.training.trained import Trained, load_meta
from mlpeft.work import RoundInterruptedError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from mlpeft.reporting import Reporter

NAME: Final = "joint"
OUTER: Final[dict[str, Any]] = {
    "outer_optimizer": "adam",
    "outer_lr": 1e-3,
    "outer_schedule": "cosine",
    "outer_lr_final": 0.0,
}
"""Adam falling to zero: what joint training usually takes."""


def joint_config(config: RunConfig, run_dir: Path) -> RunConfig:
    """The configuration of the baseline of a run.

    It computes as many gradients of as many tasks each, of the examples that inner
    steps see.

    Args:
        config: The run's.
        run_dir: The run's folder.
    """
    settings = config.meta_learning
    algorithm = ALGORITHMS[settings.algorithm]
    each = max(algorithm.gradients(settings.num_inner_steps), 1)
    changes: dict[str, dict[str, Any]] = {
        "run": {"name": NAME},
        "paths": {"checkpoint_dir": str(run_dir)},
        "meta_learning": OUTER
        | {
            "algorithm": "joint",
            "inner_state": "reset",
            "batch_norm": "batch" if settings.batch_norm == "batch" else "running",
            "first_order": False,
            "aggregation": "mean",
            "update_clip": None,
            "num_meta_iterations": each * settings.num_meta_iterations,
            "eval_interval": each * settings.eval_interval,
            "save_interval": each * settings.save_interval,
        },
    }
    if not algorithm.needs_queries:  # then the run learned from no query either
        changes["task_distribution"] = {"train_query_size": 0}
    return config.with_changes(**changes)


def trained_joint(
    trained: Trained,
    reporter: Reporter | None = None,
    should_stop: Callable[[], bool] = lambda: False,
) -> Trained | None:
    """The baseline of a start, trained if it is not there yet.

    Args:
        trained: A start, from `load_trained`.
        reporter: Told about the training, if there is any; None: `metrics.jsonl`.
        should_stop: See `train`.

    Returns:
        The baseline, with the start's configuration but for the parameters; None if the
        start was trained jointly itself, or its theta has leaves that joint training
        does not learn (step sizes), or no head.

    Raises:
        ConfigError: If the model cannot be trained jointly on these tasks.
        CheckpointError: If its folder holds another run, or cannot be written.
        RunInterruptedError: If someone asked to stop.
    """
    algorithm = trained.config.meta_learning.algorithm
    if algorithm == "joint" or not ALGORITHMS[algorithm].model_alone:
        return None
    own = _own_config(trained)
    config = joint_config(own, _run_dir(trained))
    newest, _ = checkpoint.newest(run_folder(config))
    if newest is not None and newest.progress.iteration == _iterations(config):
        reporter = None  # nothing is left to be told about
    result = train(config, reporter=reporter, resume=None, should_stop=should_stop)
    if result.reason == "stopped":
        raise RoundInterruptedError(
            f"joint training was stopped after {result.iteration} of "
            f"{_iterations(config)} meta-iterations; the same command goes on with it, "
            "or add --no-joint"
        )
    found = load_meta(result.run_dir)
    return Trained(trained.config, found.meta, found.path, found.iteration)


def _iterations(config: RunConfig) -> int:
    return config.meta_learning.num_meta_iterations


def _own_config(trained: Trained) -> RunConfig:
    """What the start was trained with, without what was changed for the comparison.

    The start's configuration was checked for modules that may be imported; the file in
    the run's folder may be another, and counts only if it names no other modules.
    """
    file = _run_dir(trained) / "config.yaml"
    own = RunConfig.load(file) if file.is_file() else trained.config
    return own if _modules(own) == _modules(trained.config) else trained.config


def _modules(config: RunConfig) -> tuple[object, object]:
    entry_point = config.task_distribution.task_params.get("entry_point")
    return config.model.backbone, entry_point


def _run_dir(trained: Trained) -> Path:
    path = trained.path.absolute()
    return path.parent if path.is_file() else path.parents[1]
