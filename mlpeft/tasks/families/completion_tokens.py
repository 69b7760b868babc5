"""Prompts and completions as token ids, and which of them a model learns.

A row of x is the prompt, put into the template, followed by the completion. y has the
next token at each position, and IGNORED where that is part of the prompt or padding.
The model also learns the token that ends a completion.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from mlpeft.errors import DataError
from mlpeft.models.losses import IGNORED

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mlpeft.datasets.completions import Example
    from mlpeft.models.pretrained.tokenizers import LanguageTokenizer

BUCKET = 8
"""Lengths are multiples of it, so that compiled code is reused."""
PROMPT = "{prompt}"
TEMPLATE = PROMPT + "\n"

Rows = npt.NDArray[np.int32]


@dataclass(frozen=True, slots=True, eq=False)
class TokenisedTask:
    """The examples of a task as token ids.

    Attributes:
        x: (examples, longest) inputs, padded with the end token.
        y: (examples, longest) next tokens, IGNORED where they have no loss.
        lengths: (examples,) inputs of each.
    """

    x: Rows
    y: Rows
    lengths: npt.NDArray[np.int64]

    def rows(self, picked: npt.NDArray[np.int64]) -> tuple[Rows, Rows]:
        """X and y of some examples, no longer than the longest of them needs.

        Args:
            picked: Their indices.

        Returns:
            Two arrays (len(picked), length), length being a multiple of BUCKET.
        """
        length = -(-int(self.lengths[picked].max()) // BUCKET) * BUCKET
        return _resize(self.x[picked], length, 0), _resize(
            self.y[picked], length, IGNORED
        )


def tokenise(
    examples: Sequence[Example], template: str, tokenizer: LanguageTokenizer
) -> TokenisedTask:
    """Tokenise the examples of one task.

    Raises:
        DataError: If a prompt has no tokens.
    """
    prompts = [
        tokenizer.encode_prompt(template.replace(PROMPT, example.prompt))
        for example in examples
    ]
    if not all(prompts):
        raise DataError(
            "a prompt has no tokens, so a completion has nothing to follow; "
            "put some text into task_params.template"
        )
    completions = [
        [*tokenizer.encode_continuation(example.completion), tokenizer.end]
        for example in examples
    ]
    pairs = list(zip(prompts, completions, strict=True))
    lengths = [len(prompt) + len(completion) - 1 for prompt, completion in pairs]
    x = np.full((len(examples), max(lengths)), tokenizer.end, np.int32)
    y = np.full_like(x, IGNORED)
    for row, (prompt, completion) in enumerate(pairs):
        text, first = prompt + completion, len(prompt) - 1
        x[row, : len(text) - 1] = text[:-1]
        y[row, first : len(text) - 1] = completion
    return TokenisedTask(x, y, np.array(lengths))


def _resize(rows: Rows, length: int, fill: int) -> Rows:
    """Cut or pad rows to a length. No target depends on the padding of x."""
    cut = rows[:, :length]
    missing = length - cut.shape[1]
    return np.pad(cut, ((0, 0), (0, missing)), constant_values=fill)
