"""An adapter: what a model learned from a few examples, ready to classify with."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import mlx.core as mx
import numpy as np

from mlpeft.adapters.inputs import Texts, longest
from mlpeft.meta.functional import set_params
from mlpeft.models.build import build_model

if TYPE_CHECKING:
    from collections.abc import Sequence

    import mlx.nn as nn

    from mlpeft.config import RunConfig
    from mlpeft.params import ParamTree

BATCH = 32
"""Texts that are classified at once."""


@dataclass(frozen=True, slots=True)
class Prediction:
    """What an adapter makes of one text.

    Attributes:
        label: The most likely label.
        confidence: Its share of the softmax of the model's outputs, from 0 to 1; not
            calibrated.
        scores: That share of every label.
    """

    label: str
    confidence: float
    scores: dict[str, float]


@dataclass(slots=True, kw_only=True)
class Adapter:
    """The few changed leaves of a base model, and what its outputs are called.

    Attributes:
        config: The run that it was adapted from, with as many `num_classes` as labels.
        labels: Name of each output; empty for a start that was not adapted.
        leaves: The method's leaves, and after adaptation the head's; NumPy.
        story: How it came about, for its model card; plain values.
    """

    config: RunConfig
    labels: tuple[str, ...]
    leaves: ParamTree
    story: dict[str, Any] = field(default_factory=dict)
    _model: nn.Module | None = field(default=None, repr=False)
    _inputs: Texts | None = field(default=None, repr=False)

    @property
    def inputs(self) -> Texts:
        """From texts to what the model takes; made when first asked."""
        if self._inputs is None:
            self._inputs = Texts(self.config)
        return self._inputs

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

    def predict(self, texts: Sequence[str]) -> list[Prediction]:
        """Classify texts, in their order."""
        found: list[Prediction] = []
        for first in range(0, len(texts), BATCH):
            tokens = mx.array(self.inputs(texts[first : first + BATCH]))
            shares = mx.softmax(self.model(tokens).astype(mx.float32), axis=-1)
            found += [self._prediction(row) for row in np.asarray(shares)]
        return found

    def _prediction(self, shares: np.ndarray) -> Prediction:
        best = int(shares.argmax())
        scores = dict(zip(self.labels, shares.tolist(), strict=True))
        return Prediction(self.labels[best], float(shares[best]), scores)


def bare_model(config: RunConfig) -> nn.Module:
    """The wrapped model of a run that reads text, before any leaf is put in."""
    outputs = config.task_distribution.num_classes
    return build_model(
        config.model, (longest(config),), outputs, config.run.seed, peft=config.peft
    )
