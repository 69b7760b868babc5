"""A BERT-type sentence encoder: from token ids to one vector per sentence.

The architecture is that of Devlin et al. 2019 (arXiv 1810.04805), layer norm after each
sublayer, with the mean over tokens of Reimers and Gurevych 2019 (arXiv 1908.10084).
Module names are those of Hugging Face's format, shortened (`layers.0.attention.query`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import mlx.core as mx
import mlx.nn as nn
import numpy as np
from mlx.utils import tree_flatten

from mlpeft.errors import DataError, ShapeError
from mlpeft.models.ops import attention, gelu, gelu_forward
from mlpeft.models.pretrained.layer_pooling import LOWER_WEIGHT, lower_layers
from mlpeft.models.pretrained.packing import FeatureCache, pack

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from mlpeft.models.pretrained.packing import Batch, Hidden, Prepared
    from mlpeft.models.pretrained.pooling import Pooling

_SUPPORTED = {
    "model_type": "bert",
    "hidden_act": "gelu",
    "position_embedding_type": "absolute",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class EncoderConfig:
    """Sizes of an encoder, by the names of Hugging Face's config.json."""

    vocab_size: int
    hidden_size: int
    num_hidden_layers: int
    num_attention_heads: int
    intermediate_size: int
    max_position_embeddings: int = 512
    type_vocab_size: int = 2
    layer_norm_eps: float = 1e-12
    pad_token_id: int = 0

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], source: str) -> Self:
        """The sizes in a config.json.

        Raises:
            DataError: Naming each setting that is missing or not supported.
        """
        problems = [
            f"{key} is {values[key]!r}, expected {expected!r}"
            for key, expected in _SUPPORTED.items()
            if values.get(key, expected) != expected
        ]
        if "model_type" not in values:
            problems.append("model_type is missing, expected 'bert'")
        required = list(cls.__dataclass_fields__)[:5]
        problems += [f"{key} is missing" for key in required if key not in values]
        problems += [
            f"{key} is {value!r}, expected {expected}"
            for key, value in values.items()
            if (expected := _expected_instead(key, value)) is not None
        ]
        if not problems and values["hidden_size"] % values["num_attention_heads"]:
            problems.append(
                f"hidden_size {values['hidden_size']} is no multiple of "
                f"num_attention_heads {values['num_attention_heads']}"
            )
        if problems:
            raise DataError(
                f"{source} does not describe a BERT-type encoder: "
                f"{'; '.join(problems)}; use a model such as all-MiniLM-L6-v2"
            )
        sizes = {key: values[key] for key in cls.__dataclass_fields__ if key in values}
        return cls(**sizes)


_MOST = {"vocab_size": 1 << 24, "pad_token_id": 1 << 24, "num_hidden_layers": 1 << 10}
"""Largest values that are no mistake; 2 ** 20 for other sizes."""


def _expected_instead(key: str, value: object) -> str | None:
    """What a setting should be, if it is not; None: it may be so."""
    if key not in EncoderConfig.__dataclass_fields__:
        return None
    if key == "layer_norm_eps":
        return None if isinstance(value, float) and value > 0 else "a positive number"
    least, most = 0 if key == "pad_token_id" else 1, _MOST.get(key, 1 << 20)
    if (
        isinstance(value, int)
        and not isinstance(value, bool)
        and least <= value <= most
    ):
        return None
    return f"a whole number from {least} to {most}"


class Embeddings(nn.Module):
    """Sum of word, position and type embeddings, normalised."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        size = config.hidden_size
        self.word = nn.Embedding(config.vocab_size, size)
        self.position = nn.Embedding(config.max_position_embeddings, size)
        self.token_type = nn.Embedding(config.type_vocab_size, size)
        self.norm = nn.LayerNorm(size, eps=config.layer_norm_eps)

    def __call__(
        self, tokens: mx.array, soft_prompt: mx.array | None = None
    ) -> mx.array:
        """(n, length) token ids -> (n, length, hidden_size).

        With a soft prompt (count, hidden_size) in front: (n, count + length, ...).
        """
        words = self.word(tokens)
        if soft_prompt is not None:
            shape = (len(tokens), *soft_prompt.shape)
            words = mx.concatenate([mx.broadcast_to(soft_prompt, shape), words], axis=1)
        positions = self.position.weight[: words.shape[1]]
        embedded = words + positions + self.token_type.weight[0]
        output: mx.array = self.norm(embedded)
        return output


class Attention(nn.Module):
    """Multi-head self-attention to the tokens that are not padding."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        size = config.hidden_size
        self.num_heads = config.num_attention_heads
        self.prefix_dims = size
        self.forward_only = False
        self.query = nn.Linear(size, size)
        self.key = nn.Linear(size, size)
        self.value = nn.Linear(size, size)
        self.output = nn.Linear(size, size)

    def __call__(self, x: mx.array, mask: mx.array) -> mx.array:
        """(n, length, hidden_size), mask (n, 1, 1 or length, length) -> the same."""
        queries, keys, values = (
            self._split_heads(layer(x)) for layer in (self.query, self.key, self.value)
        )
        if "prefix_keys" in self:
            keys = self._prepend(self.prefix_keys, keys)
            values = self._prepend(self.prefix_values, values)
            mask = _prepend_true(mask, len(self.prefix_keys))
        attended = attention(queries, keys, values, mask, forward=self.forward_only)
        joined = attended.swapaxes(1, 2).reshape(x.shape)
        output: mx.array = self.output(joined)
        return output

    def _prepend(self, prefix: mx.array, heads: mx.array) -> mx.array:
        """Put a prefix (count, hidden_size) before (n, heads, length, head_size)."""
        split = self._split_heads(prefix[None]).astype(heads.dtype)
        split = mx.broadcast_to(split, (len(heads), *split.shape[1:]))
        return mx.concatenate([split, heads], axis=2)

    def _split_heads(self, x: mx.array) -> mx.array:
        n, length, size = x.shape
        split = x.reshape(n, length, self.num_heads, size // self.num_heads)
        return split.swapaxes(1, 2)


def _prepend_true(mask: mx.array, count: int) -> mx.array:
    """The mask (..., count + length) for keys with `count` more in front."""
    shape = (*mask.shape[:-1], count)
    return mx.concatenate([mx.ones(shape, dtype=mask.dtype), mask], axis=-1)


class EncoderLayer(nn.Module):
    """Attention and a two-layer perceptron, each added to its input and normalised."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        size, eps = config.hidden_size, config.layer_norm_eps
        self.attention = Attention(config)
        self.attention_norm = nn.LayerNorm(size, eps=eps)
        self.intermediate = nn.Linear(size, config.intermediate_size)
        self.output = nn.Linear(config.intermediate_size, size)
        self.output_norm = nn.LayerNorm(size, eps=eps)
        self.activate: Callable[[mx.array], mx.array] = gelu

    def __call__(self, x: mx.array, mask: mx.array) -> mx.array:
        """(n, length, hidden_size), mask (n, 1, 1 or length, length) -> the same."""
        x = self.attention_norm(x + self.attention(x, mask))
        wide = self.activate(self.intermediate(x))
        output: mx.array = self.output_norm(x + self.output(wide))
        return output


class SentenceEncoder(nn.Module):
    """Encodes sentences as unit vectors, pooled from the tokens of the last layer.

    Pooling takes their normalised mean, or the first token ([CLS]). The vectors of a
    `soft_prompt`, if there is one, count as tokens.

    There is no dropout: adaptation must not depend on the machine.
    """

    def __init__(self, config: EncoderConfig, pooling: Pooling = "mean") -> None:
        super().__init__()
        self.config = config
        self.pooling = pooling
        self.embeddings = Embeddings(config)
        self.layers = [EncoderLayer(config) for _ in range(config.num_hidden_layers)]
        self._features = FeatureCache()

    @property
    def vocab_size(self) -> int:
        """The number of tokens in the vocabulary."""
        return self.config.vocab_size

    def word_vectors(self, tokens: mx.array) -> mx.array:
        """(n,) token ids -> (n, hidden_size), before positions are added."""
        vectors: mx.array = self.embeddings.word(tokens)
        return vectors

    def __call__(self, sentences: mx.array | Batch) -> mx.array:
        """Embeddings (n, hidden_size): float32 unit vectors.

        Args:
            sentences: (n, length) token ids, `pad_token_id` being padding; or the
                result of `prepare`.

        Raises:
            ShapeError: If they have another shape, or are longer than the model's
                positions.
        """
        if isinstance(sentences, dict):
            return self._encode_packed(sentences)
        return self._encode(sentences, ())[0]

    def of_layers(self, sentences: mx.array) -> mx.array:
        """(n, `layers_dims`) unit vectors of several layers, the last one first.

        Args:
            sentences: (n, length) token ids, as for a call.
        """
        *lower, last = self._encode(sentences, lower_layers(len(self.layers)))
        return unit(mx.concatenate([last, *(LOWER_WEIGHT * v for v in lower)], axis=1))

    @property
    def layers_dims(self) -> int:
        """Numbers in a vector of `of_layers`."""
        return self.config.hidden_size * (1 + len(lower_layers(len(self.layers))))

    def _encode(self, sentences: mx.array, lower: tuple[int, ...]) -> list[mx.array]:
        """Unit vectors after each of the `lower` counts of layers, and the last."""
        prompt = self.get("soft_prompt")
        count = 0 if prompt is None else len(prompt)
        longest = self.config.max_position_embeddings - count
        integers = mx.issubdtype(sentences.dtype, mx.integer)
        fits = sentences.ndim == 2 and 1 <= sentences.shape[1] <= longest
        if not (integers and fits):
            raise ShapeError(
                f"invalid shape: tokens {tuple(sentences.shape)} of {sentences.dtype}, "
                "expected integers (sentences, length) with a length of 1 to "
                f"{longest}; use a family of texts, such as intents"
            )
        present = sentences != self.config.pad_token_id
        if count:
            present = _prepend_true(present, count)
        embedded = self.embeddings(sentences, prompt)
        h, done, vectors = embedded, 0, []
        for end in (*lower, len(self.layers)):
            h = self._run_layers(h, present[:, None, None, :], done, end)
            done = end
            vectors.append(unit(self._pool(h, present, count)))
        return vectors

    def _pool(self, h: mx.array, present: mx.array, prompt: int) -> mx.array:
        """(n, length, size) -> (n, size), `prompt` tokens being in front."""
        if self.pooling == "cls":
            return h[:, prompt]
        weight = present[..., None].astype(h.dtype)
        total = mx.maximum(weight.sum(axis=1), 1.0)
        return (h * weight).sum(axis=1) / total

    def without_gradients(self) -> None:
        """From now on, compute faster what has no gradient."""
        for layer in self.layers:
            layer.activate = gelu_forward
            layer.attention.forward_only = True
            lay_out_for_products(layer)

    def prepare(self, tokens: np.ndarray) -> Prepared | None:
        """Compute once, outside the inner loop, what inner steps do not change.

        This packs sentences into rows and computes their hidden states below the first
        layer that adapts; those are cached by sentence. Each sentence is computed by
        itself, so its bits do not depend on the batch in which it first appears.

        Args:
            tokens: (n, length) integers, padded at the end.

        Returns:
            None if embeddings adapt, or attention is not our own.
        """
        first = self._first_adapted()
        if first is None:
            return None
        lengths = _lengths(tokens, self.config.pad_token_id)
        rows = [row[:n] for row, n in zip(tokens, lengths, strict=True)]
        hidden = [self._features(row, first, self._run_frozen_layers) for row in rows]
        return pack(hidden, self.pooling)

    def _encode_packed(self, batch: Batch) -> mx.array:
        h, segment = batch["hidden"], batch["segment"]
        mask = segment[:, None, :, None] == segment[:, None, None, :]
        h = self._run_layers(h, mask, self._first_adapted() or 0)
        return unit(batch["pool"] @ h.reshape(-1, h.shape[-1]))

    def _run_frozen_layers(self, row: np.ndarray, count: int) -> Hidden:
        """(length,) token ids -> (length, hidden_size) below layer `count`."""
        h = self.embeddings(mx.array(row)[None])
        mask = mx.ones((1, 1, 1, len(row)), mx.bool_)
        return np.array(self._run_layers(h, mask, 0, count)[0])

    def _run_layers(
        self, h: mx.array, mask: mx.array, first: int = 0, end: int | None = None
    ) -> mx.array:
        """Pass hidden states through layers `first` to `end`, which is not included."""
        for layer in self.layers[first:end]:
            h = layer(h, mask)
        return h

    def _first_adapted(self) -> int | None:
        """The first layer with trainable leaves; None if the whole model must run.

        It must if embeddings or a prompt adapt, or if another attention module, which
        may depend on where a sentence begins, has replaced a layer's.
        """
        if "soft_prompt" in self or tree_flatten(
            self.embeddings.trainable_parameters()
        ):
            return None
        if any(type(layer.attention) is not Attention for layer in self.layers):
            return None
        for number, layer in enumerate(self.layers):
            if tree_flatten(layer.trainable_parameters()):
                return number
        return len(self.layers)


def lay_out_for_products(layer: nn.Module) -> None:
    """Store the weights of linear layers as the products of a few tokens read them.

    `x W^T` of one short text takes BLAS as long as reading W, which is a quarter faster
    where W^T is contiguous. Shapes and values stay; a further call changes nothing.
    """
    for _, module in layer.named_modules():
        if type(module) is nn.Linear:
            module.weight = mx.contiguous(module.weight.T).T
    # Layer by layer, so that no second encoder is in memory.
    mx.eval(layer.parameters())


def unit(x: mx.array) -> mx.array:
    """`x / |x|` along the last axis; a zero vector stays zero."""
    square = mx.sum(mx.square(x), axis=-1, keepdims=True)
    return x * mx.rsqrt(mx.maximum(square, 1e-24))


def _lengths(tokens: np.ndarray, pad: int) -> list[int]:
    """Tokens of each row up to the last that is not padding, at least 1."""
    present = tokens != pad
    ends = tokens.shape[1] - present[:, ::-1].argmax(axis=1)
    return [int(n) for n in np.where(present.any(axis=1), ends, 1)]
