"""Checks episodes that a user made, before they are computed with.

Neither a label without an output nor a float label stops the arithmetic: it would give
wrong numbers in silence. Families of tasks check their own, so runs do not need this.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mlpeft.errors import ShapeError
from mlpeft.models.losses import IGNORED, cross_entropy_loss
from mlpeft.tasks.episode import Episode

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from mlpeft.meta.functional import LossFn
    from mlpeft.params import Array


def as_episodes(
    arrays: Iterable[Sequence[Array]],
    loss_fn: LossFn,
    outputs_of: Callable[[Array], int],
) -> list[Episode]:
    """Episodes of four arrays each, whose labels the model has outputs for.

    Args:
        arrays: (support_x, support_y, query_x, query_y) each.
        loss_fn: What they are for; labels are checked for `cross_entropy_loss`.
        outputs_of: The model's outputs for one input, by a batch of inputs.

    Raises:
        ShapeError: If an episode has other parts, or a label is not a possible one.
    """
    episodes = [_as_episode(parts) for parts in arrays]
    if loss_fn is cross_entropy_loss and episodes:
        _check_labels(episodes, outputs_of(episodes[0].support_x))
    return episodes


def _as_episode(parts: Sequence[Array]) -> Episode:
    if len(parts) != 4:
        raise ShapeError(
            f"an episode of {len(parts)} parts; expected (support_x, support_y, "
            "query_x, query_y): leave out the config, as dist.sample_episode()[1:] does"
        )
    return Episode(*parts)


def _check_labels(episodes: Sequence[Episode], outputs: int) -> None:
    labels = np.concatenate(
        [np.ravel(y) for e in episodes for y in (e.support_y, e.query_y)]
    )
    labels = labels[labels != IGNORED] if _sequences(episodes) else labels
    if labels.dtype.kind == "f":
        raise ShapeError(
            f"labels are floats, expected integers from 0 to {outputs - 1}; "
            "for the targets of a regression take mse_loss"
        )
    if labels.size and (labels.min() < 0 or labels.max() >= outputs):
        raise ShapeError(
            f"labels from {labels.min()} to {labels.max()}, but the model has "
            f"{outputs} outputs; expected 0 to {outputs - 1}: make the model's "
            "num_classes and the task's the same"
        )


def _sequences(episodes: Iterable[Episode]) -> bool:
    """Whether labels are of tokens; then some may be of none."""
    return all(np.ndim(episode.support_y) == 2 for episode in episodes)
