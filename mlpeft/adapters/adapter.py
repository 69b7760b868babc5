"""An adapter: the leaves of a base model that a task changes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import mlx.core as mx

from mlpeft.charts import notebook
from mlpeft.errors import counted
from mlpeft.meta.functional import set_params
from mlpeft.models.build import build_model
from mlpeft.models.pretrained.source import model_file
from mlpeft.models.pretrained.tokenizers import TOKENIZER, Tokeniser
from mlpeft.params import summary
from mlpeft.tasks.families.intents.family import MAX_TOKENS

MOST_LABELS = 20
"""Labels that a notebook shows."""

if TYPE_CHECKING:
    from collections.abc import Sequence

    import mlx.nn as nn
    import numpy as np

    from mlpeft.config import RunConfig
    from mlpeft.params import ParamTree


@dataclass(slots=True, kw_only=True, repr=False)
class Adapter:
    """The changed leaves of a base model.

    Attributes:
        config: The run that it was adapted from, with one class per label.
        leaves: The method's leaves, and after adaptation the head's; NumPy.
        labels: Name of each output; empty for a start, and for a language model.
        history: How it was made, for its model card; plain values.
    """

    config: RunConfig
    leaves: ParamTree
    labels: tuple[str, ...] = ()
    history: dict[str, Any] = field(default_factory=dict)
    _model: nn.Module | None = field(default=None, repr=False)

    def __repr__(self) -> str:
        labels = f"{counted(len(self.labels), 'label')}; " if self.labels else ""
        base = self.config.model.weights or self.config.model.backbone
        return f"{type(self).__name__}({labels}{summary(self.leaves)} on {base})"

    def _repr_html_(self) -> str:
        """What a notebook shows."""
        shown = ", ".join(self.labels[:MOST_LABELS])
        rest = len(self.labels) - MOST_LABELS
        values = {
            "base": self.config.model.weights or self.config.model.backbone,
            "method": self.config.peft.method,
            "leaves": summary(self.leaves),
            "labels": (f"{shown} and {rest} more" if rest > 0 else shown) or None,
        }
        return notebook.facts(type(self).__name__, values)

    @property
    def model(self) -> nn.Module:
        """The wrapped model with the adapter's leaves, built on first use."""
        if self._model is None:
            self._model = self.build_model()
        return self._model

    def build_model(self) -> nn.Module:
        """A new wrapped model with the adapter's leaves, for a caller to change."""
        model = bare_model(self.config)
        set_params(model, {name: mx.array(leaf) for name, leaf in self.leaves.items()})
        model.eval()
        return model


def bare_model(config: RunConfig) -> nn.Module:
    """Build the wrapped model of a run that reads text, with its initial leaves."""
    outputs = config.task_distribution.num_classes
    return build_model(
        config.model, (max_tokens(config),), outputs, config.run.seed, peft=config.peft
    )


def max_tokens(config: RunConfig) -> int:
    """Tokens after which a text is truncated; by default as in tasks that read text."""
    return config.task_distribution.input_dim or MAX_TOKENS


class TextTokenizer:
    """Turns texts into token ids with the base's tokenizer.

    Args:
        config: The run's configuration.

    Raises:
        DataError: If the tokenizer is missing or damaged.
    """

    def __init__(self, config: RunConfig) -> None:
        params = config.task_distribution.task_params
        source = str(params.get("tokenizer", config.model.weights))
        self._tokenise = Tokeniser(model_file(source, TOKENIZER), max_tokens(config))

    def __call__(self, texts: Sequence[str]) -> np.ndarray:
        """Token ids (n, length) int32 of n >= 1 texts, padded to the longest."""
        return self._tokenise(texts).rows
