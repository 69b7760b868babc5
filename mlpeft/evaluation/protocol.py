"""What a figure was measured under: without these, two figures do not compare."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from mlpeft.config.learning import INNER_STEPS

if TYPE_CHECKING:
    from mlpeft.training.runner import ShardRunner

NO_NORM: Final = "none"
TRANSDUCTIVE: Final = "batch statistics, all queries of an episode together"
ALONE: Final = "batch statistics, each query alone with the support set"
RUNNING: Final = "running statistics of training"
PER_STEP: Final = "running statistics of each inner step of training"
NO_STATE: Final = "none"
FRESH: Final = "fresh in each task"
CARRIED: Final = "carried from training"


def protocol(runner: ShardRunner) -> dict[str, Any]:
    """The settings of an evaluation that change its figures, as plain values."""
    config = runner.config
    tasks, inner = config.task_distribution, runner.eval_inner
    return {
        "num_classes": tasks.num_classes,
        "k_shot": tasks.k_shot,
        "query_size": tasks.query_size,
        "seed": config.run.seed,
        "transductive": config.model.transductive
        and config.meta_learning.batch_norm == "batch",
        "batch_norm": batch_norm(runner),
        "head": config.evaluation.head,
        "inner_optimizer": config.meta_learning.inner_optimizer,
        "inner_state": inner_state(runner),
        "inner_lr": inner.lr,
        "inner_steps": runner.steps[-1],
        "inner_batch_size": inner.batch_size,
    }


def batch_norm(runner: ShardRunner) -> str:
    """Which statistics normalise the queries."""
    if not runner.uses_batch_statistics:
        return NO_NORM
    match runner.config.meta_learning.batch_norm:
        case "running":
            return RUNNING
        case "per-step":
            return PER_STEP
    return TRANSDUCTIVE if runner.config.model.transductive else ALONE


def inner_state(runner: ShardRunner) -> str:
    """Where the moments of the inner optimiser come from."""
    if runner.config.meta_learning.inner_optimizer == "sgd":
        return NO_STATE
    return CARRIED if runner.eval_inner.carries else FRESH


def sentence(settings: dict[str, Any]) -> str:
    """What of a protocol is not seen from the table, for people."""
    norm = f"Batch norm: {settings['batch_norm']}."
    if settings["head"] != INNER_STEPS:
        return f"Head: {settings['head']}, fitted to the support set. {norm}"
    return (
        f"{norm} Inner optimiser: {settings['inner_optimizer']}, state: "
        f"{settings['inner_state']}."
    )
