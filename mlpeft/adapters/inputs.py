"""From texts to what a pretrained model takes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlpeft.datasets.pretrained import model_file
from mlpeft.datasets.tokens import TOKENIZER, Tokeniser

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np

    from mlpeft.config import RunConfig

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
