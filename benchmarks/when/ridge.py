"""A head in closed form on the embeddings of a start: no gradient step at all.

That of `mlpeft.heads.ridge`, on embeddings from which the mean of the support set is
taken away and which are then made unit vectors. Leaving one out chooses its lambda
where a class has several examples; with one it is 1.

References:
    Bertinetto et al., "Meta-learning with differentiable closed-form solvers", 2019,
    arXiv 1805.08136.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

# Before mlx.core: mlpeft loads a BLAS that MLX then uses.
from mlpeft import cross_entropy_loss

# isort: split
import mlx.core as mx
import numpy as np

from mlpeft.heads.examples import Examples
from mlpeft.heads.ridge import fit_ridge
from mlpeft.meta import state
from mlpeft.meta.functional import Functional, set_params

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mlpeft.params import ParamTree
    from mlpeft.tasks.build import Tasks
    from mlpeft.training.runner import ShardRunner
    from mlpeft.work import Shard


def ridge_scores(
    runner: ShardRunner, meta: ParamTree | None, tasks: Tasks, shards: Sequence[Shard]
) -> np.ndarray:
    """Accuracy (episodes,) of queries.

    Args:
        runner: Its model has `embed`.
        meta: The start; None: inputs take the place of embeddings.
        tasks: What the episodes are drawn from.
        shards: The episodes.
    """
    theta, _ = state.split(state.without_head(meta or {}))
    functional = Functional(runner.model, cross_entropy_loss)
    model: Any = runner.model
    found = []
    with functional.installed():
        set_params(model, {name: mx.array(leaf) for name, leaf in theta.items()})
        for spec in (spec for shard in shards for spec in shard.tasks):
            episode = tasks.episode(spec.task_id, spec.seed)
            support, query = (
                np.reshape(x, (len(x), -1))
                if meta is None
                else np.array(model.embed(functional.prepare(x)), np.float64)
                for x in (episode.support_x, episode.query_x)
            )
            labels, asked = np.asarray(episode.support_y), np.asarray(episode.query_y)
            found.append(accuracy(support, labels, query, asked))
    return np.array(found)


def accuracy(
    support: np.ndarray, labels: np.ndarray, query: np.ndarray, asked: np.ndarray
) -> float:
    """Of queries (m, dims) with classes `asked`, after support (n, dims) and labels."""
    centre = support.mean(axis=0)
    examples = Examples.of(_unit(support - centre), labels, int(labels.max()) + 1)
    logits = fit_ridge(examples)(_unit(query - centre))
    return float((logits.argmax(axis=1) == asked).mean())


def _unit(rows: np.ndarray) -> np.ndarray:
    unit: np.ndarray = rows / (np.linalg.norm(rows, axis=1, keepdims=True) + 1e-9)
    return unit
