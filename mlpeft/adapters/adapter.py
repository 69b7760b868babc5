"""An adapter: the few leaves of a base model that a task has changed."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import mlx.core as mx

from mlpeft.meta.functional import set_params
from mlpeft.models.build import build_model
from mlpeft.models.pretrained.source import model_file
from mlpeft.models.pretrained.tokenizers import TOKENIZER, Tokeniser

if TYPE_CHECKING:
    from collections.abc import Sequence

    import mlx.nn as nn
    import numpy as np

    from mlpeft.config import RunConfig
    from mlpeft.params import ParamTree


@dataclass(slots=True, kw_only=True)
class Adapter:
    """The few changed leaves of a base model.

    Attributes:
        config: The run that it was adapted from; where there are labels, with as many
            `num_classes`.
        leaves: The method's leaves, and after adaptation the head's; NumPy.
        labels: Name of each output; empty for a start, and for a language model.
        story: How it came about, for its model card; plain values.
    """

    config: RunConfig
    leaves: ParamTree
    labels: tuple[str, ...] = ()
    story: dict[str, Any] = field(default_factory=dict)
    _model: nn.Module | None = field(default=None, repr=False)

    @property
    def model(self) -> nn.Module:
        """The wrapped model with the adapter's leaves in it; made when first asked."""
        if self._model is None:
            self._model = self.wrapped()
        return self._model

    def wrapped(self) -> nn.Module:
        """Such a model of the caller's own, to be changed."""
        model = bare_model(self.config)
        set_params(model, {name: mx.array(leaf) for name, leaf in self.leaves.items()})
        model.eval()
        return model


def bare_model(config: RunConfig) -> nn.Module:
    """The wrapped model of a run that reads text, before any leaf is put in."""
    outputs = config.task_distribution.num_classes
    return build_model(
        config.model, (longest(config),), outputs, config.run.seed, peft=config.peft
    )


MAX_TOKENS = 64
"""Where the run's `task_distribution.input_dim` leaves it open, as in its tasks."""


def longest(config: RunConfig) -> int:
    """Tokens of the longest text that is not cut."""
    return config.task_distribution.input_dim or MAX_TOKENS


class Texts:
    """Texts to (n, length) token numbers, by the base's own tokenizer.

    Args:
        config: The run's configuration.

    Raises:
        DataError: If the tokenizer is missing or damaged.
    """

    def __init__(self, config: RunConfig) -> None:
        params = config.task_distribution.task_params
        where = str(params.get("tokenizer", config.model.weights))
        self._tokenise = Tokeniser(model_file(where, TOKENIZER), longest(config))

    def __call__(self, texts: Sequence[str]) -> np.ndarray:
        """Token numbers int32, padded to the longest of at least one text."""
        return self._tokenise(texts).rows
