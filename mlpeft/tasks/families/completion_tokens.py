"""Prompts and completions as token numbers, and which of them a model learns.

A row of x is the prompt, put into the template, and then the completion. y has at each
place the token that comes next, and IGNORED where that is a part of the prompt or
padding. The token that ends a completion is learned, too.
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
"""Lengths are multiples of it: compiled code is used again for those of one length."""
PROMPT = "{prompt}"
TEMPLATE = PROMPT + "\n"

Rows = npt.NDArray[np.int32]


@dataclass(frozen=True, slots=True, eq=False)
class TokenisedTask:
    """The examples of a task as token numbers.

    Attributes:
        x: (examples, longest) inputs, padded with the end token.
        y: (examples, longest) next tokens, IGNORED where they do not count.
        lengths: (examples,) inputs of each.
    """

    x: Rows
    y: Rows
    lengths: npt.NDArray[np.int64]

    def rows(self, picked: npt.NDArray[np.int64]) -> tuple[Rows, Rows]:
        """X and y of some examples, as long as the longest of them needs.

        Args:
            picked: Their numbers.

        Returns:
            Two arrays (len(picked), length), length being a multiple of BUCKET.
        """
        length = -(-int(self.lengths[picked].max()) // BUCKET) * BUCKET
        return _wide(self.x[picked], length, 0), _wide(self.y[picked], length, IGNORED)


def tokenise(
    examples: Sequence[Example], template: str, tokenizer: LanguageTokenizer
) -> TokenisedTask:
    """The examples of one task.

    Raises:
        DataError: If a prompt is no token at all.
    """
    prompts = [
        tokenizer.start(template.replace(PROMPT, one.prompt)) for one in examples
    ]
    if not all(prompts):
        raise DataError(
            "a prompt is no token at all: a completion needs something to follow; "
            "put some text into task_params.template"
        )
    answers = [[*tokenizer.go_on(one.completion), tokenizer.end] for one in examples]
    lengths = [len(p) + len(a) - 1 for p, a in zip(prompts, answers, strict=True)]
    x = np.full((len(examples), max(lengths)), tokenizer.end, np.int32)
    y = np.full_like(x, IGNORED)
    for row, (prompt, answer) in enumerate(zip(prompts, answers, strict=True)):
        whole, first = prompt + answer, len(prompt) - 1
        x[row, : len(whole) - 1] = whole[:-1]
        y[row, first : len(whole) - 1] = answer
    return TokenisedTask(x, y, np.array(lengths))


def _wide(rows: Rows, length: int, fill: int) -> Rows:
    """Rows cut or filled up to a length. What the fill is in x, no target sees."""
    kept = rows[:, :length]
    missing = length - kept.shape[1]
    return np.pad(kept, ((0, 0), (0, missing)), constant_values=fill)
