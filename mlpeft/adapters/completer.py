"""An adapter that completes prompts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import mlx.core as mx

from mlpeft.adapters.adapter import Adapter
from mlpeft.models.pretrained.tokenizers import read_language_tokenizer
from mlpeft.tasks.families.completion_tokens import PROMPT, TEMPLATE

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from mlpeft.config import RunConfig

MAX_TOKENS = 128
"""Default limit on the tokens of a completion."""


@dataclass(slots=True, kw_only=True, repr=False)
class Completer(Adapter):
    """An adapter of a language model."""

    def predict(
        self, prompts: Sequence[str], max_tokens: int = MAX_TOKENS
    ) -> list[str]:
        """Complete each prompt by greedy decoding.

        Args:
            prompts: Inserted into the run's template.
            max_tokens: Tokens after which a completion is truncated.
        """
        tokenizer = read_language_tokenizer(tokenizer_of(self.config))
        template = template_of(self.config)
        completions = []
        for prompt in prompts:
            start = tokenizer.encode_prompt(template.replace(PROMPT, prompt))
            completions.append(
                tokenizer.decode(list(self._tokens(start, tokenizer.end, max_tokens)))
            )
        return completions

    def _tokens(self, start: list[int], end: int, max_tokens: int) -> Iterator[int]:
        from mlx_lm.generate import generate_step

        steps = generate_step(mx.array(start), self.model, max_tokens=max_tokens)
        for token, _ in steps:
            if int(token) == end:
                return
            yield int(token)


def tokenizer_of(config: RunConfig) -> str:
    """The model whose tokenizer a language-model run uses."""
    params = config.task_distribution.task_params
    return str(params.get("tokenizer", config.model.weights))


def template_of(config: RunConfig) -> str:
    """The text into which a run's prompts are inserted."""
    return str(config.task_distribution.task_params.get("template", TEMPLATE))
