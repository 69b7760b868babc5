"""Joint training: one model of all training tasks at once, and no meta-learning.

The outer optimiser descends the loss of the meta-batch's examples at theta itself. This
is Reptile with a single inner step, and the baseline that decides whether an inner loop
pays.

A label that means another class in every episode cannot be learned at theta. Where
tasks choose their classes from a pool, the model therefore gets a head over all
training classes while it trains, which is thrown away afterwards. A last layer of the
model's own (`output_path`) is not trained then and stays at zero: adaptation starts
from equal chances, which suits features of any size better than a random layer.

References:
    Caruana, "Multitask Learning", Machine Learning 28, 1997.
    Tian et al., "Rethinking Few-Shot Image Classification: a Good Embedding Is All You
    Need?", 2020, arXiv 2003.11539.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import mlx.core as mx
import numpy as np

from mlpeft.errors import ConfigError
from mlpeft.meta.functional import Functional, set_params
from mlpeft.meta.state import TRAINING_HEAD, without_head
from mlpeft.models.losses import cross_entropy_loss
from mlpeft.tasks.episode import Episode

if TYPE_CHECKING:
    import mlx.nn as nn

    from mlpeft.meta.functional import ModelInput
    from mlpeft.params import MlxTree, NumpyTree, ParamTree
    from mlpeft.tasks.pool_labels import PoolLabels

HEAD_EXAMPLES = 10
"""Of a class, for its mean."""
WEIGHT = TRAINING_HEAD + "weight"
BIAS = TRAINING_HEAD + "bias"


class HeadedFunctional(Functional):
    """A model that classifies with the training head, if its parameters have one.

    `y = scale W embed(x) + b`, with the model's `logit_scale` if it has one.
    """

    def predict(self, params: MlxTree, x: ModelInput) -> mx.array:
        """Outputs of the module with these parameters. Call inside `installed()`."""
        if WEIGHT not in params:
            return super().predict(params, x)
        set_params(self.model, without_head(params))
        embeddings: mx.array = self.model.embed(x)
        scale: float = getattr(self.model, "logit_scale", 1.0)
        return scale * (embeddings @ params[WEIGHT].T) + params[BIAS]


def check_embeds(model: nn.Module, classes: int) -> None:
    """Refuse a model that the training head cannot stand on.

    Raises:
        ConfigError: If it has no method `embed`.
    """
    if not hasattr(model, "embed"):
        raise ConfigError(
            f"meta_learning.algorithm: joint trains one classifier of all {classes} "
            "training classes, on what the model gives its last layer; give the model "
            "a method embed(x) that returns it, (n, dims), or choose another algorithm"
        )


def initial_head(model: Any, theta: ParamTree, labels: PoolLabels) -> NumpyTree:
    """The training head before the first step: zeros, or class means.

    A pretrained model, whose episodes start their head from class means, gets those of
    all classes: from chance, the first steps would spoil what it knows (Kumar et al.
    2022, arXiv 2202.10054).

    Args:
        model: Has `embed`.
        theta: Its parameters.
        labels: The training classes.
    """
    functional = Functional(model, cross_entropy_loss)
    x, y = labels.examples(HEAD_EXAMPLES if functional.starts_episodes else 1)
    with functional.installed():
        set_params(model, {name: mx.array(leaf) for name, leaf in theta.items()})
        if functional.starts_episodes:
            weight = np.stack(
                [
                    np.array(model.embed(functional.prepare(x[y == k])).mean(axis=0))
                    for k in range(len(labels))
                ]
            )
            weight /= np.linalg.norm(weight, axis=1, keepdims=True)
        else:
            dims = int(model.embed(mx.array(x[:1])).shape[-1])
            weight = np.zeros((len(labels), dims), np.float32)
    return {
        WEIGHT: weight.astype(np.float32),
        BIAS: np.zeros(len(labels), np.float32),
    }


def without_output(model: Any, theta: ParamTree) -> ParamTree:
    """Theta with zeros for the model's last layer, if it names one."""
    path = getattr(model, "output_path", None)
    return {
        name: np.zeros(leaf.shape, np.float32)
        if path is not None and name.startswith(f"{path}.")
        else leaf
        for name, leaf in theta.items()
    }


def whole(episode: Episode) -> Episode:
    """All examples of an episode as one batch, since none are kept for later."""
    x = np.concatenate([episode.support_x, episode.query_x])
    y = np.concatenate([episode.support_y, episode.query_y])
    return Episode(x, y, x[:0], y[:0])


def pseudo_gradient(theta: NumpyTree, mean: NumpyTree) -> NumpyTree:  # noqa: ARG001 - one signature for all algorithms
    """The mean gradient itself."""
    return mean
