"""Where a learner's meta-state is: in the user's model, and beside it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import mlx.core as mx

from mlpeft import params
from mlpeft.meta import state
from mlpeft.meta.functional import get_params, put_leaves
from mlpeft.params import read_npz, write_npz

if TYPE_CHECKING:
    from pathlib import Path

    import mlx.nn as nn

    from mlpeft.meta.inner import InnerLoop
    from mlpeft.params import MlxTree, NumpyTree


class HeldTheta:
    """The meta-state, whose leaves of the model are the model's own parameters.

    A user may change these between two meta-iterations, and that counts.

    Args:
        model: Holds theta; moved in place.
        inner: What is learned beside the model's leaves.
        seed: Of what starts at random there.
    """

    def __init__(self, model: nn.Module, inner: InnerLoop, seed: int) -> None:
        self._model = model
        self._inner = inner
        own = get_params(model)
        self._beside: NumpyTree = {
            name: leaf
            for name, leaf in state.new(model, inner, seed).items()
            if name not in own
        }
        # The leaves that the model was given last, and the meta-state that they are of.
        self._last_put: tuple[MlxTree, NumpyTree] = ({}, {})

    def of(self, own: MlxTree) -> NumpyTree:
        """The meta-state of a model with these leaves; not to be changed."""
        put, meta = self._last_put
        if own.keys() == put.keys() and all(own[k] is leaf for k, leaf in put.items()):
            return meta
        adaptation = self._inner.adaptation.bound(self._model)
        theta = adaptation.theta(params.to_numpy(own))
        return dict(sorted((theta | self._beside).items()))

    def put(self, meta: NumpyTree, own: MlxTree) -> None:
        """Move the model from its leaves to a meta-state."""
        theta = {name: mx.array(leaf) for name, leaf in meta.items() if name in own}
        put_leaves(self._model, theta)
        self._beside = {k: leaf for k, leaf in meta.items() if k not in own}
        self._last_put = theta, meta

    def save(self, path: str | Path) -> None:
        """Save it as `.npz`; folders are made."""
        write_npz(path, dict(self.of(get_params(self._model))))

    def load(self, path: str | Path) -> None:
        """Load what `save` wrote.

        Raises:
            FileNotFoundError: Naming the absolute path that was looked at.
            CheckpointError: If it is not such a file.
            ParamMismatch: If it was made for another model (a ValueError).
        """
        own = get_params(self._model)
        theta, inner_state = state.split(read_npz(path))
        own_theta, own_state = state.split(self.of(own))
        params.check_schema(params.schema(own_theta), theta, f"checkpoint {path}")
        carried = {k: leaf for k, leaf in inner_state.items() if k in own_state}
        expected = params.schema({name: own_state[name] for name in carried})
        params.check_schema(expected, carried, f"checkpoint {path}")
        self.put(state.join(theta, own_state | carried), own)
