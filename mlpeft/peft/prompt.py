"""Prompt tuning: learned vectors before those of a text's tokens.

References:
    Lester, Al-Rfou and Constant, "The Power of Scale for Parameter-Efficient Prompt
    Tuning", 2021, arXiv 2104.08691.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, runtime_checkable

import mlx.core as mx

from mlpeft.errors import ConfigError
from mlpeft.peft.method import Method

if TYPE_CHECKING:
    import mlx.nn as nn

    from mlpeft.config import PeftSection


@runtime_checkable
class TakesPrompt(Protocol):
    """A module that puts vectors before the embedded tokens, if it is given any.

    Its call must honour `soft_prompt`, an array (num_virtual_tokens, dims) that `apply`
    sets as an attribute and that is not there before.
    """

    vocab_size: int
    """How many tokens there are."""

    def word_vectors(self, tokens: mx.array) -> mx.array:
        """(n,) token numbers -> (n, dims), what a prompt is put before."""
        ...


class Prompt(Method):
    """A `soft_prompt` in the module that takes one.

    It starts as the vectors of tokens drawn at random, where the model knows its way.
    """

    name = "prompt"
    merges = False
    hf_type = "PROMPT_TUNING"

    def apply(self, model: nn.Module, section: PeftSection) -> None:
        """Give the model its prompt.

        Raises:
            ConfigError: If no module takes one.
        """
        takers = [
            module for module in model.modules() if isinstance(module, TakesPrompt)
        ]
        if not takers:
            raise ConfigError(
                "peft.method: prompt needs a model that takes vectors before its "
                "tokens (mlpeft.peft.prompt.TakesPrompt), such as backbone encoder or "
                "causal_lm; take lora"
            )
        for module in takers:
            count = (section.num_virtual_tokens,)
            tokens = mx.random.randint(0, module.vocab_size, count)
            start = module.word_vectors(tokens).astype(mx.float32)
            module.soft_prompt = start  # type: ignore[attr-defined] # sets a leaf
