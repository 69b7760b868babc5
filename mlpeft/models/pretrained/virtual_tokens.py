"""Lets mlx-lm's models accept soft prompts and prefixes.

A soft prompt is embeddings in front of the tokens'; a prefix is keys and values in the
attention's caches before the first token. Both are added with the first tokens of a
text: a cache that has tokens already contains the virtual ones.
"""

from __future__ import annotations

import inspect
from contextlib import nullcontext
from typing import Any

import mlx.core as mx
import mlx.nn as nn

from mlpeft.models.pretrained.module_proxy import ModuleProxy, submodules_replaced
from mlpeft.models.pretrained.trunk import Trunk, descend, find_trunk
from mlpeft.peft.linear import is_linear, sizes

_EMBEDDINGS = (nn.Embedding, nn.QuantizedEmbedding)
_OF_POSITIONS = ("wpe", "embed_positions")
_KV_HEADS = ("n_kv_heads", "num_kv_heads", "num_key_value_heads")


class _PromptedEmbedding(ModuleProxy):
    """Embeds tokens whose first ones are the soft prompt's places."""

    def __init__(self, embedding: nn.Module, prompt: mx.array) -> None:
        super().__init__(embedding)
        self._prompt = prompt

    def __call__(self, tokens: mx.array) -> mx.array:
        words = self._module(tokens[:, len(self._prompt) :])
        return _prepended(self._prompt, words)


class _VirtualTokensMixin(nn.Module):
    """A mixin in front of the class of the module that embeds tokens."""

    embedding_name: str
    blocks_path: str

    def word_vectors(self, tokens: mx.array) -> mx.array:
        """(n,) token ids -> (n, dims) embeddings."""
        vectors: mx.array = self[self.embedding_name](tokens)
        return vectors

    def __call__(self, inputs: mx.array, *args: Any, **kwargs: Any) -> mx.array:
        """(n, length) token ids -> (n, length, dims), as the wrapped class."""
        call = super().__call__
        given = inspect.signature(call).bind(inputs, *args, **kwargs)
        cache = given.arguments.get("cache")
        if not _at_start(cache):
            return call(inputs, *args, **kwargs)  # type: ignore[no-any-return]
        with_prefixes = self._add_prefixes(cache, len(inputs))
        if with_prefixes is not None:
            given.arguments["cache"] = with_prefixes
        (tokens, *_) = given.arguments
        prompted: Any = nullcontext()
        count = 0
        if "soft_prompt" in self:
            count = len(self.soft_prompt)
            # Some architectures count positions by the shape of the token ids.
            given.arguments[tokens] = mx.pad(inputs, [(0, 0), (count, 0)])
            words = given.arguments.get("input_embeddings")
            if words is not None:
                given.arguments["input_embeddings"] = _prepended(
                    self.soft_prompt, words
                )
            proxy = _PromptedEmbedding(self[self.embedding_name], self.soft_prompt)
            prompted = submodules_replaced(self, **{self.embedding_name: proxy})
        with prompted:
            output: mx.array = call(*given.args, **given.kwargs)
        return output[:, count:] if count else output

    def _add_prefixes(self, caches: Any, batch: int) -> Any:
        """Put the prefixes, if there are any, into the caches of all layers."""
        layers = descend(self, self.blocks_path)
        attentions = [getattr(layer, "self_attn", None) for layer in layers]
        if not any("prefix_keys" in (attention or {}) for attention in attentions):
            return caches
        if caches is None:
            from mlx_lm.models.cache import ConcatenateKVCache

            caches = [ConcatenateKVCache() for _ in attentions]
        dtype = _base_dtype(self, self[self.embedding_name])
        for attention, cache in zip(attentions, caches, strict=True):
            if attention is not None and "prefix_keys" in attention:
                cache.update_and_fetch(
                    *(
                        _split_heads(prefix.astype(dtype), _kv_heads(attention), batch)
                        for prefix in (attention.prefix_keys, attention.prefix_values)
                    )
                )
        return caches


def enable_virtual_tokens(model: nn.Module) -> None:
    """Let an mlx-lm model accept a soft prompt and prefixes, in place.

    Args:
        model: A model as mlx-lm loads it; left unchanged if its architecture is not
            supported: it embeds tokens more than once, or not beside its blocks.
    """
    trunk = find_trunk(model)
    found = None if trunk is None else _find_embedding(model, trunk)
    if trunk is None or found is None:
        return
    path, embedding = found
    inner = descend(model, path)
    architecture = type(inner)
    arguments = list(inspect.signature(architecture.__call__).parameters)
    if "cache" not in arguments or arguments[0] != "self":
        return
    blocks = f"{trunk.path}.{trunk.blocks}".removeprefix(f"{path}.")
    # Only this instance changes its class: submodules keep their paths, and other
    # models of the architecture stay as they are.
    bases = (_VirtualTokensMixin, architecture)
    places = {"embedding_name": embedding, "blocks_path": blocks}
    inner.__class__ = type(architecture.__name__, bases, places)
    inner.vocab_size = inner[embedding].weight.shape[0]
    from mlx_lm.models.cache import KVCache, make_prompt_cache

    if not all(type(cache) is KVCache for cache in make_prompt_cache(model)):
        return  # a sliding window would drop the prefix, a recurrent layer has no cache
    for layer in trunk.layers(model):
        attention = getattr(layer, "self_attn", None)
        if attention is not None and _takes_prefix(attention):
            attention.prefix_dims = sizes(attention.k_proj)[0]


def _find_embedding(model: nn.Module, trunk: Trunk) -> tuple[str, str] | None:
    """Path of the module that embeds the trunk's tokens, and the embedding's name."""
    path = trunk.path
    while path:
        names = [
            name
            for name, child in descend(model, path).items()
            if isinstance(child, _EMBEDDINGS) and name not in _OF_POSITIONS
        ]
        if names:
            return (path, names[0]) if len(names) == 1 else None
        path, _, _ = path.rpartition(".")
    return None


def _takes_prefix(attention: nn.Module) -> bool:
    """Whether an attention's keys and values are those of two layers of one size."""
    parts = [attention.get(name) for name in ("k_proj", "v_proj")]
    if not all(map(is_linear, parts)) or _kv_heads(attention) is None:
        return False
    keys, values = (sizes(part)[0] for part in parts)
    return keys == values


def _kv_heads(attention: nn.Module) -> Any:
    return next(
        (getattr(attention, name) for name in _KV_HEADS if hasattr(attention, name)),
        None,
    )


def _base_dtype(inner: nn.Module, embedding: nn.Module) -> mx.Dtype:
    """The type in which attention computes."""
    if "norm" in inner and "weight" in inner.norm:
        dtype: mx.Dtype = inner.norm.weight.dtype
        return dtype
    leaf: mx.array = embedding.get("scales", embedding.weight)
    return leaf.dtype


def _at_start(caches: Any) -> bool:
    """Whether no token of the text has been seen."""
    return caches is None or all(cache is None or cache.empty() for cache in caches)


def _prepended(prompt: mx.array, words: mx.array) -> mx.array:
    """(count, dims) in front of each of (n, length, dims)."""
    shape = (len(words), *prompt.shape)
    front = mx.broadcast_to(prompt.astype(words.dtype), shape)
    return mx.concatenate([front, words], axis=1)


def _split_heads(prefix: mx.array, heads: int, batch: int) -> mx.array:
    """(count, dims) -> (batch, heads, count, dims / heads)."""
    split = prefix.reshape(1, len(prefix), heads, -1).swapaxes(1, 2)
    return mx.broadcast_to(split, (batch, *split.shape[1:]))
