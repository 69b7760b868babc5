"""A model that has learned one task, beside the one that holds theta."""

from __future__ import annotations

from copy import deepcopy
from typing import TYPE_CHECKING

import mlx.core as mx
from mlx.utils import tree_flatten

from mlpeft.meta import norm_statistics, state
from mlpeft.meta.functional import Functional, set_params
from mlpeft.meta.inner import inner_loop, last
from mlpeft.meta.support import PreparedSupport
from mlpeft.models.batch_norms import BatchNorms

if TYPE_CHECKING:
    from collections.abc import Callable

    import mlx.nn as nn
    import numpy as np

    from mlpeft.meta.functional import LossFn
    from mlpeft.meta.inner import InnerLoop
    from mlpeft.params import NumpyTree
    from mlpeft.tasks.episode import Episode


def adapted_model(
    model: nn.Module,
    loss_fn: LossFn,
    inner: InnerLoop,
    meta: NumpyTree,
    episode: Episode,
    make_rng: Callable[[], np.random.Generator],
) -> nn.Module:
    """A copy of a model after the inner steps on an episode's support set.

    Frozen leaves are the model's own arrays. Where running statistics are kept, its
    batch norms predict with them; else they normalise by the batch at hand.

    Args:
        model: Holds theta; it stays as it is.
        loss_fn: `(outputs, targets) -> scalar`.
        inner: The inner loop.
        meta: Theta and carried inner state.
        episode: Its queries are not looked at.
        make_rng: Orders inner batches.

    Raises:
        ConfigError: If an adapted model consists of more than leaves and statistics.
    """
    theta, inner_state = (
        {name: mx.array(leaf) for name, leaf in tree.items()}
        for tree in state.split(meta)
    )
    moments, statistics = norm_statistics.split(inner_state)
    functional = Functional(model, loss_fn, adaptation=inner.adaptation)
    support = PreparedSupport.of_task(
        functional, inner, episode.support_x, episode.support_y, make_rng
    )
    with functional.installed():
        end = last(inner_loop(functional, inner, theta, moments, support))
        leaves = functional.adaptation.adapter_leaves(end.params)
        mx.eval(leaves)
    shared = {id(leaf): leaf for _, leaf in tree_flatten(model.parameters())}
    adapted = deepcopy(model, shared)
    set_params(adapted, leaves)
    BatchNorms(adapted).keep(norm_statistics.at_step(statistics, inner.num_steps))
    return adapted
