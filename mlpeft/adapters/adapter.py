"""An adapter: what a model learned from a few examples, ready to classify with."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import mlx.core as mx
import numpy as np

from mlpeft.meta.functional import set_params
from mlpeft.models.build import build_model

if TYPE_CHECKING:
    from collections.abc import Sequence

    import mlx.nn as nn

    from mlpeft.adapters.inputs import Texts
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
        config: The run that it was adapted from, with `num_classes` labels.
        labels: Name of each output.
        leaves: The method's leaves after adaptation, and the head's; NumPy.
        inputs: From texts to what the model takes.
        story: How it came about, for its model card; plain values.
    """

    config: RunConfig
    labels: tuple[str, ...]
    leaves: ParamTree
    inputs: Texts
    story: dict[str, Any] = field(default_factory=dict)
    _model: nn.Module | None = field(default=None, repr=False)

    @property
    def model(self) -> nn.Module:
        """The wrapped model with the adapter's leaves in it; made when first asked."""
        if self._model is None:
            model = bare_model(self.config, self.inputs, len(self.labels))
            set_params(model, {k: mx.array(leaf) for k, leaf in self.leaves.items()})
            model.eval()
            self._model = model
        return self._model

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


def bare_model(config: RunConfig, inputs: Texts, num_outputs: int) -> nn.Module:
    """The wrapped model of a run, before any leaf is put in."""
    return build_model(
        config.model, inputs.shape, num_outputs, config.run.seed, peft=config.peft
    )
