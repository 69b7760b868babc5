"""Lets mlx-lm's models accept soft prompts and prefixes.

A soft prompt is embeddings in front of the tokens'; a prefix is keys and values in the
attention's caches before the first token. Both are added with the first tokens of a
text: a cache that has tokens already contains the virtual ones.
"""

from __future__ import annotations

import inspect
from typing import Any

import mlx.core as mx
import mlx.nn as nn

from mlpeft.peft.linear import sizes


class _VirtualTokensMixin(nn.Module):
    """A mixin in front of the class of an mlx-lm model without its head."""

    def word_vectors(self, tokens: mx.array) -> mx.array:
        """(n,) token ids -> (n, dims) embeddings."""
        vectors: mx.array = self.embed_tokens(tokens)
        return vectors

    def __call__(
        self,
        inputs: mx.array,
        cache: Any = None,
        input_embeddings: mx.array | None = None,
    ) -> mx.array:
        """(n, length) token ids -> (n, length, dims), as the wrapped class."""
        count = 0
        if cache is None or cache[0] is None or cache[0].offset == 0:
            cache = self._add_prefixes(cache, len(inputs))
            if "soft_prompt" in self:
                count = len(self.soft_prompt)
                words = input_embeddings
                if words is None:
                    words = self.embed_tokens(inputs)
                shape = (len(inputs), *self.soft_prompt.shape)
                prompt = mx.broadcast_to(self.soft_prompt.astype(words.dtype), shape)
                input_embeddings = mx.concatenate([prompt, words], axis=1)
                # Some architectures count positions by the shape of the token ids.
                inputs = mx.pad(inputs, [(0, 0), (count, 0)])
        output: mx.array = super().__call__(inputs, cache, input_embeddings)
        return output[:, count:] if count else output

    def _add_prefixes(self, caches: Any, batch: int) -> Any:
        """Put the prefixes, if there are any, into the caches of all layers."""
        attentions = [getattr(layer, "self_attn", None) for layer in self.layers]
        if not any("prefix_keys" in (attention or {}) for attention in attentions):
            return caches
        if caches is None:
            from mlx_lm.models.cache import ConcatenateKVCache

            caches = [ConcatenateKVCache() for _ in attentions]
        dtype = self.norm.weight.dtype
        for attention, cache in zip(attentions, caches, strict=True):
            if attention is not None and "prefix_keys" in attention:
                cache.update_and_fetch(
                    *(
                        _split_heads(prefix.astype(dtype), attention.n_kv_heads, batch)
                        for prefix in (attention.prefix_keys, attention.prefix_values)
                    )
                )
        return caches


def enable_virtual_tokens(model: nn.Module) -> None:
    """Let an mlx-lm model accept a soft prompt and prefixes, in place.

    Args:
        model: A model as mlx-lm loads it; left unchanged if its architecture is not
            supported.
    """
    inner = getattr(model, "model", None)
    names = ("embed_tokens", "layers", "norm")
    if inner is None or not all(hasattr(inner, name) for name in names):
        return
    architecture = type(inner)
    if "input_embeddings" not in inspect.signature(architecture.__call__).parameters:
        return
    # Only this instance changes its class: submodules keep their paths, and other
    # models of the architecture stay as they are.
    bases = (_VirtualTokensMixin, architecture)
    inner.__class__ = type(architecture.__name__, bases, {})
    inner.vocab_size = inner.embed_tokens.weight.shape[0]
    from mlx_lm.models.cache import KVCache, make_prompt_cache

    if not all(type(cache) is KVCache for cache in make_prompt_cache(model)):
        return  # a sliding window would drop the prefix, a recurrent layer has no cache
    for layer in inner.layers:
        attention = getattr(layer, "self_attn", None)
        if attention is not None and hasattr(attention, "n_kv_heads"):
            attention.prefix_dims = sizes(attention.k_proj)[0]


def _split_heads(prefix: mx.array, heads: int, batch: int) -> mx.array:
    """(count, dims) -> (batch, heads, count, dims / heads)."""
    split = prefix.reshape(1, len(prefix), heads, -1).swapaxes(1, 2)
    return mx.broadcast_to(split, (batch, *split.shape[1:]))
