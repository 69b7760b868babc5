"""The meta-state: theta, and where it is carried, the inner optimiser's state.

Both travel, are averaged and are saved as one tree; a prefix tells them apart. Theta
may have a head that is of use in training alone (joint training): the outer step moves
it, and no adaptation starts from it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import mlx.core as mx
import numpy as np

from mlpeft.meta import norm_statistics
from mlpeft.meta.functional import get_params
from mlpeft.seeds import Purpose, generator

if TYPE_CHECKING:
    from collections.abc import Mapping

    import mlx.nn as nn

    from mlpeft.meta.inner import InnerLoop
    from mlpeft.params import Array, ArrayT, NumpyTree, ParamTree

INNER_STATE = "inner_state/"
TRAINING_HEAD = "training_head/"

LeafT = TypeVar("LeafT")


def join(theta: Mapping[str, ArrayT], state: Mapping[str, ArrayT]) -> dict[str, ArrayT]:
    """One tree of theta's leaves and the inner state's, in the order of names."""
    tree = dict(theta) | {INNER_STATE + name: leaf for name, leaf in state.items()}
    return {name: tree[name] for name in sorted(tree)}


def split(meta: Mapping[str, LeafT]) -> tuple[dict[str, LeafT], dict[str, LeafT]]:
    """Theta and the inner state of a meta-state."""
    theta: dict[str, LeafT] = {}
    state: dict[str, LeafT] = {}
    for name, leaf in meta.items():
        if name.startswith(INNER_STATE):
            state[name.removeprefix(INNER_STATE)] = leaf
        else:
            theta[name] = leaf
    return theta, state


def without_head(leaves: Mapping[str, LeafT]) -> dict[str, LeafT]:
    """What an adaptation starts from: all leaves but those of the training head."""
    return {
        name: leaf
        for name, leaf in leaves.items()
        if not name.startswith(TRAINING_HEAD)
    }


def carried(meta: Mapping[str, Array]) -> frozenset[str]:
    """Names of the leaves of a meta-state that are carried inner state."""
    return frozenset(name for name in meta if name.startswith(INNER_STATE))


def new(
    model: nn.Module, inner: InnerLoop, seed: int, purpose: Purpose = Purpose.INIT
) -> NumpyTree:
    """The meta-state of a run that starts with a model's parameters.

    Args:
        model: Holds them.
        inner: The inner loop of training; its adaptation says what else is learned.
        seed: The run's, for what of that starts at random.
        purpose: As that of the model's own initialisation.

    Raises:
        ConfigError: If the adaptation does not go with the model, or statistics of
            batch norms are to be kept, and it has none.
    """
    adaptation = inner.adaptation.bound(model)
    theta = adaptation.theta(get_params(model))
    learned = adaptation.learned(_float32(theta), generator(seed, purpose, 1))
    return initial(theta | learned, inner, model)


def initial(
    theta: Mapping[str, Array], inner: InnerLoop, model: nn.Module
) -> NumpyTree:
    """The meta-state of a run that starts with this theta, as float32 NumPy leaves.

    Raises:
        ConfigError: If statistics of batch norms are to be kept, and there are none.
    """
    state: dict[str, Array] = {}
    if inner.carries:
        leaves = {name: mx.array(leaf) for name, leaf in theta.items()}
        state = dict(inner.make_optimizer().init(leaves))
    return _float32(join(theta, state | norm_statistics.initial(model, inner)))


def fitted(meta: Mapping[str, Array], inner: InnerLoop, what: str) -> ParamTree:
    """A meta-state with the carried state that the settings have a use for.

    Raises:
        ConfigError: If they want statistics of batch norms, and `what` has none.
    """
    theta, state = split(meta)
    moments, statistics = norm_statistics.split(state)
    kept = norm_statistics.fitted(statistics, inner, what)
    return join(theta, (moments if inner.carries else {}) | kept)


def _float32(tree: Mapping[str, Array]) -> NumpyTree:
    # A count of steps has an axis, too: NumPy makes no-axis arrays into plain numbers.
    return {
        name: np.atleast_1d(np.array(leaf, dtype=np.float32))
        for name, leaf in tree.items()
    }
