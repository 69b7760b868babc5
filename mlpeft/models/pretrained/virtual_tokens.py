"""Lets mlx-lm's models take soft prompts and prefixes.

A soft prompt is embeddings before those of the tokens; a prefix is what the attention's
caches hold before the first token. Both come in with the first tokens of a text: when a
cache already has some, the virtual ones are among them.
"""

from __future__ import annotations

import inspect
from typing import Any

import mlx.core as mx
import mlx.nn as nn

from mlpeft.peft.linear import sizes


class _VirtualTokens(nn.Module):
    """Goes before the class of an mlx-lm model without its head."""

    def word_vectors(self, tokens: mx.array) -> mx.array:
        """(n,) token numbers -> (n, dims), what a soft prompt is put before."""
        vectors: mx.array = self.embed_tokens(tokens)
        return vectors

    def __call__(
        self,
        inputs: mx.array,
        cache: Any = None,
        input_embeddings: mx.array | None = None,
    ) -> mx.array:
        """(n, length) token numbers -> (n, length, dims), as the class behind gives."""
        count = 0
        if cache is None or cache[0] is None or cache[0].offset == 0:
            cache = self._with_prefix(cache, len(inputs))
            if "soft_prompt" in self:
                count = len(self.soft_prompt)
                words = input_embeddings
                if words is None:
                    words = self.embed_tokens(inputs)
                shape = (len(inputs), *self.soft_prompt.shape)
                prompt = mx.broadcast_to(self.soft_prompt.astype(words.dtype), shape)
                input_embeddings = mx.concatenate([prompt, words], axis=1)
                # Some kinds count their positions by the tokens' numbers.
                inputs = mx.pad(inputs, [(0, 0), (count, 0)])
        output: mx.array = super().__call__(inputs, cache, input_embeddings)
        return output[:, count:] if count else output

    def _with_prefix(self, caches: Any, batch: int) -> Any:
        """The caches of all layers, with the prefixes in them, if there are any."""
        attentions = [getattr(layer, "self_attn", None) for layer in self.layers]
        if not any(one is not None and "prefix_keys" in one for one in attentions):
            return caches
        if caches is None:
            from mlx_lm.models.cache import ConcatenateKVCache

            caches = [ConcatenateKVCache() for _ in attentions]
        dtype = self.norm.weight.dtype
        for attention, cache in zip(attentions, caches, strict=True):
            if attention is not None and "prefix_keys" in attention:
                cache.update_and_fetch(
                    *(
                        _heads(prefix.astype(dtype), attention.n_kv_heads, batch)
                        for prefix in (attention.prefix_keys, attention.prefix_values)
                    )
                )
        return caches


def take_virtual_tokens(model: nn.Module) -> None:
    """Let an mlx-lm model take a soft prompt and prefixes, if its kind can, in place.

    Args:
        model: A model as mlx-lm loads it; one of another build is left as it is.
    """
    inner = getattr(model, "model", None)
    parts = ("embed_tokens", "layers", "norm")
    if inner is None or not all(hasattr(inner, part) for part in parts):
        return
    kind = type(inner)
    if "input_embeddings" not in inspect.signature(kind.__call__).parameters:
        return
    # The instance alone becomes another: its parts keep their paths, and other models
    # of the kind what they are.
    inner.__class__ = type(kind.__name__, (_VirtualTokens, kind), {})
    inner.vocab_size = inner.embed_tokens.weight.shape[0]
    from mlx_lm.models.cache import KVCache, make_prompt_cache

    if not all(type(cache) is KVCache for cache in make_prompt_cache(model)):
        return  # a window would lose sight of the prefix, a recurrence has no place
    for layer in inner.layers:
        attention = getattr(layer, "self_attn", None)
        if attention is not None and hasattr(attention, "n_kv_heads"):
            attention.prefix_dims = sizes(attention.k_proj)[0]


def _heads(prefix: mx.array, heads: int, batch: int) -> mx.array:
    """(count, dims) -> (batch, heads, count, dims / heads)."""
    split = prefix.reshape(1, len(prefix), heads, -1).swapaxes(1, 2)
    return mx.broadcast_to(split, (batch, *split.shape[1:]))
