"""A head in closed form on the embeddings of a start: no gradient step at all.

`W = X^T (X X^T + l I)^-1 Y` for the support set's embeddings X, which are centred and
of unit length, and its one-hot labels Y; a query belongs to the class of its largest
score.

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

from mlpeft.meta import state
from mlpeft.meta.functional import Functional, set_params

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mlpeft.params import ParamTree
    from mlpeft.tasks.build import Tasks
    from mlpeft.training.runner import ShardRunner
    from mlpeft.work import Shard

STRENGTHS = (0.01, 0.1, 1.0, 10.0)
"""Of the penalty l, to choose from."""


def ridge_scores(
    runner: ShardRunner, meta: ParamTree, tasks: Tasks, shards: Sequence[Shard]
) -> np.ndarray:
    """Accuracy (episodes, strengths) of queries.

    Args:
        runner: Its model has `embed`.
        meta: The start.
        tasks: What the episodes are drawn from.
        shards: The episodes.
    """
    theta, _ = state.split(state.without_head(meta))
    functional = Functional(runner.model, cross_entropy_loss)
    model: Any = runner.model
    found = []
    with functional.installed():
        set_params(model, {name: mx.array(leaf) for name, leaf in theta.items()})
        for spec in (spec for shard in shards for spec in shard.tasks):
            episode = tasks.episode(spec.task_id, spec.seed)
            support, query = (
                np.array(model.embed(functional.prepare(x)), np.float64)
                for x in (episode.support_x, episode.query_x)
            )
            labels, asked = np.asarray(episode.support_y), np.asarray(episode.query_y)
            found.append(_accuracies(support, labels, query, asked))
    return np.array(found)


def _accuracies(
    support: np.ndarray, labels: np.ndarray, query: np.ndarray, asked: np.ndarray
) -> list[float]:
    """One for each strength."""
    centre = support.mean(axis=0)
    support, query = _unit(support - centre), _unit(query - centre)
    targets = np.eye(labels.max() + 1)[labels]
    gram, seen = support @ support.T, query @ support.T
    accuracies = []
    for strength in STRENGTHS:
        solved = np.linalg.solve(gram + strength * np.eye(len(gram)), targets)
        accuracies.append(float(((seen @ solved).argmax(axis=1) == asked).mean()))
    return accuracies


def _unit(rows: np.ndarray) -> np.ndarray:
    unit: np.ndarray = rows / (np.linalg.norm(rows, axis=1, keepdims=True) + 1e-9)
    return unit
