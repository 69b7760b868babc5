"""What the keys of a run must be for its algorithm."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal, TypeAlias

if TYPE_CHECKING:
    from mlpeft.config.learning import MetaLearningSection
    from mlpeft.config.machine import ComputeSection

AlgorithmName: TypeAlias = Literal[
    "reptile",
    "reptile_serial",
    "fomaml",
    "maml",
    "anil",
    "boil",
    "meta_sgd",
    "maml++",
    "meta_curvature",
    "cavia",
    "imaml",
    "protonet",
    "matching",
    "relation",
    "joint",
]

THROUGH_STEPS: Final = frozenset(
    {"maml", "anil", "boil", "meta_sgd", "maml++", "meta_curvature", "cavia"}
)
"""Differentiate through the inner steps."""
METRIC: Final = frozenset({"protonet", "matching", "relation"})
"""Compare embeddings, and take no inner steps."""
_OF_STEPS: Final = frozenset({"reptile", "reptile_serial"})
"""Learn from what inner steps come to, of support sets alone."""
_OWN_STEPS: Final = frozenset({"meta_sgd", "maml++"})
"""Take inner steps of their own, of gradient descent."""


def problem(meta: MetaLearningSection) -> str | None:
    """Which key does not go with the algorithm, and what to do; None: all do."""
    name = meta.algorithm
    rules = {
        f"num_inner_steps: {name} learns from its inner steps; set 1 or more, or "
        "algorithm: fomaml": name in _OF_STEPS and meta.num_inner_steps == 0,
        f"first_order: {name} does not differentiate through inner steps; leave it "
        "false": meta.first_order and name not in THROUGH_STEPS,
        f"inner_micro_batch: the gradient of {name} needs all examples in memory at "
        "once; set null": meta.inner_micro_batch is not None
        and name in {*THROUGH_STEPS, *METRIC},
        "inner_state: joint has no inner loop whose moments could be carried; set "
        "reset": name == "joint" and meta.inner_state == "carry",
        f"outer_optimizer: {name} moves theta after each task, by outer_lr alone; set "
        "sgd": name == "reptile_serial" and meta.outer_optimizer != "sgd",
        f"batch_norm: {name} takes no inner steps that could have statistics each; set "
        "running": meta.batch_norm == "per-step" and name in {*METRIC, "joint"},
    } | (_adam_rules(meta) if meta.inner_optimizer == "adam" else {})
    found = next((text for text, broken in rules.items() if broken), None)
    return None if found is None else f"meta_learning.{found}"


def _adam_rules(meta: MetaLearningSection) -> dict[str, bool]:
    """Problem of an inner Adam -> whether there is it."""
    name, through = meta.algorithm, meta.algorithm in THROUGH_STEPS
    fresh = name not in {*_OF_STEPS, "fomaml"}
    return {
        f"inner_optimizer: {name} learns the steps of gradient descent; set sgd": name
        in _OWN_STEPS,
        f"inner_optimizer: {name} differentiates through the inner steps, and Adam's "
        "square root has no derivative where a gradient is 0; set sgd, or "
        "first_order: true": through and not meta.first_order,
        f"inner_state: {name} starts each task with fresh moments; set reset": fresh
        and meta.inner_state == "carry",
    }


def compute_problem(meta: MetaLearningSection, compute: ComputeSection) -> str | None:
    """The same of a key of the `compute` section."""
    if compute.gradient_checkpointing and meta.algorithm in {*THROUGH_STEPS, "imaml"}:
        return (
            f"compute.gradient_checkpointing: {meta.algorithm} takes second "
            "derivatives, which layers that are computed again do not have; set false"
        )
    return None


def queries_problem(
    meta: MetaLearningSection, train_query_size: int | None
) -> str | None:
    """The same of the number of queries in training."""
    if train_query_size == 0 and meta.algorithm not in {*_OF_STEPS, "joint"}:
        return (
            f"task_distribution.train_query_size: {meta.algorithm} learns from "
            "queries; set 1 or more"
        )
    return None
