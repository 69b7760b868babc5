"""Running statistics of batch norms: collected in training, used for predictions.

Training normalises by the batch at hand, whatever the mode. With `batch_norm: running`
or `per-step` it also keeps, for each batch norm, a moving average over meta-iterations
of what that norm saw:

    m <- 0.9 m + 0.1 mean over tasks of the batch's statistics

`per-step` keeps one for each stage of the inner loop: stage k < K is the support batch
of step k + 1, stage K, after the last step, the queries; `running` averages all of
them. At evaluation an adapted model predicts with them: after k steps with stage k,
after more than K with the last. Its inner steps normalise by their batch, as those of
training: step sizes that suit these diverge with others. A query's class then depends
on no other query. What takes no inner step embeds the support set with them, too.

The averages are carried state (`inner_state/statistics/...`): they travel, are averaged
over tasks, checked and saved as the moments of an inner Adam.

References:
    Ioffe and Szegedy, "Batch Normalization", 2015, arXiv 1502.03167, section 3.1.
    Antoniou, Edwards and Storkey, "How to train your MAML", 2019, arXiv 1810.09502,
    section 4 (per-step batch normalisation running statistics).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import mlx.core as mx
import numpy as np

from mlpeft.errors import ConfigError
from mlpeft.models.batch_norms import MEAN, VAR, BatchNorms

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    import mlx.nn as nn

    from mlpeft.meta.functional import Functional
    from mlpeft.meta.inner import InnerLoop, Iterate
    from mlpeft.meta.support import Batch, Examples, PreparedSupport
    from mlpeft.meta.task_axis import TaskAxis
    from mlpeft.params import Array, MlxTree, NumpyTree, ParamTree

STATISTICS = "statistics/"
MOMENTUM = 0.1
"""Share of the newest meta-batch in the moving average."""

LeafT = TypeVar("LeafT")


def initial(model: nn.Module, inner: InnerLoop) -> NumpyTree:
    """Mean 0 and variance 1 in each stage, (stages, channels); {} where none are kept.

    Raises:
        ConfigError: If the model has no batch norm whose statistics could be kept.
    """
    stages = _stages(inner)
    if stages == 0:
        return {}
    norms = BatchNorms(model)
    if not norms:
        raise ConfigError(
            f"meta_learning.batch_norm: {inner.batch_norm} keeps statistics of batch "
            f"norms, and this {type(model).__name__} has none (mlx.nn.BatchNorm in "
            "training mode, or backbone conv4); set batch"
        )
    leaves: NumpyTree = {}
    for path, channels in norms.channels().items():
        leaves[STATISTICS + path + MEAN] = np.zeros((stages, channels), np.float32)
        leaves[STATISTICS + path + VAR] = np.ones((stages, channels), np.float32)
    return leaves


def split(state: Mapping[str, LeafT]) -> tuple[dict[str, LeafT], dict[str, LeafT]]:
    """The inner optimiser's moments, and the statistics, of carried state."""
    moments: dict[str, LeafT] = {}
    statistics: dict[str, LeafT] = {}
    for name, leaf in state.items():
        part = statistics if name.startswith(STATISTICS) else moments
        part[name] = leaf
    return moments, statistics


def at_step(statistics: Mapping[str, mx.array], step: int) -> MlxTree:
    """What batch norms normalise by after so many inner steps, (channels,) each."""
    return {
        name.removeprefix(STATISTICS): leaf[min(step, len(leaf) - 1)]
        for name, leaf in statistics.items()
    }


def fitted(statistics: Mapping[str, Array], inner: InnerLoop, what: str) -> NumpyTree:
    """Statistics with as many stages as the settings have, NumPy; {}: none.

    Those of all steps are the mean of those of each. Of other numbers of steps, later
    stages are cut, or are as the last.

    Raises:
        ConfigError: If `what` has none.
    """
    stages = _stages(inner)
    if stages == 0:
        return {}
    if not statistics:
        raise ConfigError(
            f"meta_learning.batch_norm: {what} has no running statistics; set batch, "
            f"or train with batch_norm: {inner.batch_norm}"
        )
    leaves = {name: np.array(leaf) for name, leaf in statistics.items()}
    if stages == 1:
        return {k: leaf.mean(axis=0, keepdims=True) for k, leaf in leaves.items()}
    places = np.arange(stages)
    return {k: leaf[np.minimum(places, len(leaf) - 1)] for k, leaf in leaves.items()}


def moved(
    functional: Functional,
    statistics: MlxTree,
    iterates: Iterable[Iterate],
    support: PreparedSupport,
    query: Examples | None,
    axis: TaskAxis,
    shared: ParamTree,
) -> MlxTree:
    """The moving averages after one task. Call inside `functional.installed()`.

    Args:
        functional: The model.
        statistics: Before it, (stages, channels) each.
        iterates: All of the task's inner loop, with the start.
        support: What its steps saw.
        query: The queries; None: the support set takes their place.
        axis: Whether there is an axis of tasks in front of the arrays.
        shared: Parameters as they are without an axis of tasks.
    """
    path = list(iterates)
    batches: list[Batch | Examples] = [
        *support.steps(len(path) - 1),
        query or support.whole,
    ]
    tasks = len(support.whole.y)
    seen = []
    for iterate, batch in zip(path, batches, strict=True):
        params = axis.spread(iterate.params, shared, tasks)
        seen.append(_seen(functional, params, batch, axis))
    return _averaged(statistics, seen)


def moved_by(
    functional: Functional,
    statistics: MlxTree,
    params: MlxTree,
    batch: Batch,
    axis: TaskAxis,
) -> MlxTree:
    """The moving averages after one batch: where no steps are taken."""
    if not statistics:
        return {}
    return _averaged(statistics, [_seen(functional, params, batch, axis)])


def _stages(inner: InnerLoop) -> int:
    """How many sets of statistics are kept."""
    match inner.batch_norm:
        case "batch":
            return 0
        case "running":
            return 1
        case "per-step":
            return inner.num_steps + 1


def _seen(
    functional: Functional, params: MlxTree, batch: Batch | Examples, axis: TaskAxis
) -> MlxTree:
    """Statistics of a batch: (channels,) each, or (tasks, channels)."""
    x, _, *keys = batch
    arguments = (x, *(key for key in keys if key is not None))
    found: MlxTree = axis.map(functional.statistics)(params, *arguments)
    return found


def _averaged(statistics: MlxTree, seen: list[MlxTree]) -> MlxTree:
    """`0.9 m + 0.1 seen` of each stage, or of all as one."""
    averages = {}
    for name, leaf in statistics.items():
        layer = name.removeprefix(STATISTICS)
        stages = mx.stack([stage[layer] for stage in seen], axis=-2)
        if len(leaf) == 1:
            stages = mx.mean(stages, axis=-2, keepdims=True)
        averages[name] = (1.0 - MOMENTUM) * leaf + MOMENTUM * stages
    return averages
