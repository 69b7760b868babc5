"""A vector for each task, near to those of tasks that ask for similar things.

gradient   dL/dtheta of the task's examples: which way it would move the model
fisher     mean over examples of (dL/dtheta)^2: which parameters matter to it
features   mean over examples of f(x) y^T: what goes with what

L is the mean loss, f(x) what the model gives its last layer (without a model the inputs
themselves), y the targets, of classes one-hot. Examples are drawn from seeded episodes,
so an embedding repeats.

References:
    Achille et al., "Task2Vec: Task Embedding for Meta-Learning", 2019, arXiv
    1902.03545 (the Fisher information's diagonal).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np

from mlpeft.errors import ConfigError
from mlpeft.seeds import Purpose, seed_word

if TYPE_CHECKING:
    from collections.abc import Sequence

    import mlx.nn as nn

    from mlpeft.tasks.build import Tasks

Method: TypeAlias = Literal["gradient", "fisher", "features"]
METHODS: tuple[Method, ...] = ("gradient", "fisher", "features")


def task_embedding(
    tasks: Tasks,
    task_id: str,
    model: nn.Module | None = None,
    method: Method = "features",
    episodes: int = 4,
) -> np.ndarray:
    """The embedding of one task.

    Args:
        tasks: Have the task.
        task_id: Which one.
        model: Its trainable parameters are theta; None: only for features.
        method: What to compute, see above.
        episodes: Episodes to take examples from: support sets and queries.

    Returns:
        (dims,) float32; dims follow from the model and the method, so that embeddings
        of the tasks of one shape can be compared.

    Raises:
        ConfigError: If the method is unknown or needs a model.
        TaskSamplingError: If there is no such task.
    """
    if method not in METHODS:
        raise ConfigError(
            f"method: expected one of {', '.join(METHODS)}, got {method!r}"
        )
    if episodes < 1:
        raise ConfigError(f"episodes: expected 1 or more, got {episodes}")
    if method != "features" and model is None:
        raise ConfigError(
            f"method: {method} needs a model whose gradients it takes; give model=..., "
            "or method='features'"
        )
    # MLX is imported where it is needed: drawing tasks does without it.
    from mlpeft.models.task_vectors import features, slopes

    classes = tasks.config(task_id).num_classes
    drawn = [
        tasks.episode(task_id, seed_word(tasks.seed, Purpose.SAMPLE, number))
        for number in range(episodes)
    ]
    sets = [(e.support_x, e.support_y) for e in drawn]
    sets += [(e.query_x, e.query_y) for e in drawn if len(e.query_x)]
    vectors = [
        features(model, *one, classes)
        if model is None or method == "features"
        else slopes(model, *one, per_example=method == "fisher")
        for one in sets
    ]
    return np.asarray(np.mean(vectors, axis=0), np.float32)


def task_similarity(embeddings: Sequence[np.ndarray] | np.ndarray) -> np.ndarray:
    """Cosine of the angle between each two embeddings: (tasks, tasks), from -1 to 1.

    Args:
        embeddings: (tasks, dims). One of zeros is like nothing else.

    Raises:
        ConfigError: If they are of different lengths.
    """
    rows = _stacked(embeddings)
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    unit = rows / np.where(lengths > 0, lengths, 1.0)
    return np.clip(unit @ unit.T, -1.0, 1.0)


def task_map(embeddings: Sequence[np.ndarray] | np.ndarray) -> np.ndarray:
    """The embeddings in the plane of their two main directions: (tasks, 2).

    Principal components; the sign of each is such that the largest number is positive.

    Args:
        embeddings: (tasks, dims), two or more.

    Raises:
        ConfigError: If they are of different lengths, or there is but one.
    """
    rows = _stacked(embeddings)
    if len(rows) < 2:
        raise ConfigError("embeddings: a map needs two tasks or more")
    centred = rows - rows.mean(axis=0)
    left, sizes, _ = np.linalg.svd(centred, full_matrices=False)
    places = np.zeros((len(rows), 2))
    count = min(2, len(sizes))
    places[:, :count] = left[:, :count] * sizes[:count]
    largest = places[np.abs(places).argmax(axis=0), [0, 1]]
    return places * np.where(largest < 0, -1.0, 1.0)


def _stacked(embeddings: Sequence[np.ndarray] | np.ndarray) -> np.ndarray:
    lengths = {np.size(row) for row in embeddings}
    if len(lengths) != 1:
        raise ConfigError(
            f"embeddings: of lengths {sorted(lengths)}; compare tasks of one shape, by "
            "one method and model"
        )
    return np.stack([np.ravel(row) for row in embeddings]).astype(np.float64)
