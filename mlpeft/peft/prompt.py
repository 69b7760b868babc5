"""Prompt tuning: learned vectors in front of a text's token embeddings.

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
    """A module that accepts a soft prompt.

    Once `apply` has set its attribute `soft_prompt`, an array (num_virtual_tokens,
    dims), its call must put these vectors in front of the token embeddings.
    """

    vocab_size: int
    """The number of tokens in the vocabulary."""

    def word_vectors(self, tokens: mx.array) -> mx.array:
        """(n,) token ids -> (n, dims) embeddings."""
        ...


class Prompt(Method):
    """Adds a `soft_prompt` to the module that accepts one.

    It starts as the embeddings of random tokens, which the model has seen in training.
    """

    name = "prompt"
    merges = False
    hf_type = "PROMPT_TUNING"

    def apply(self, model: nn.Module, section: PeftSection) -> None:
        """Add the prompt.

        Raises:
            ConfigError: If no module accepts one.
        """
        modules = [
            module for module in model.modules() if isinstance(module, TakesPrompt)
        ]
        if not modules:
            raise ConfigError(
                "peft.method: prompt needs a model that accepts a soft prompt "
                "(mlpeft.peft.prompt.TakesPrompt), such as backbone encoder or "
                "causal_lm; use lora"
            )
        for module in modules:
            count = (section.num_virtual_tokens,)
            tokens = mx.random.randint(0, module.vocab_size, count)
            start = module.word_vectors(tokens).astype(mx.float32)
            module.soft_prompt = start  # type: ignore[attr-defined] # sets a leaf
