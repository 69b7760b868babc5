"""A BERT-type sentence encoder: token numbers in, one vector a sentence out.

The architecture of Devlin et al. 2019 (arXiv 1810.04805), layer norm after each
sublayer, with the mean over tokens of Reimers and Gurevych 2019 (arXiv 1908.10084).
`read_encoder` fills it from a Hugging Face folder; the names of its parts follow that
format's, shortened (`layers.0.attention.query`).
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import mlx.core as mx
import mlx.nn as nn
import numpy as np
from mlx.utils import tree_flatten, tree_unflatten

from mlpeft.errors import DataError, ShapeError
from mlpeft.models.ops import attention, gelu
from mlpeft.models.pretrained.bert_names import is_used, our_name
from mlpeft.models.pretrained.packing import Features, Hidden, Prepared, pack
from mlpeft.models.pretrained.pooling import Pooling, read_pooling
from mlpeft.models.pretrained.source import model_file

if TYPE_CHECKING:
    from collections.abc import Mapping

WEIGHTS = "model.safetensors"
_ONLY = {
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
        """The sizes in a config.json, if it describes such an encoder.

        Raises:
            DataError: Naming each setting that is missing or that this encoder does
                not compute.
        """
        problems = [
            f"{key} is {values[key]!r}, expected {expected!r}"
            for key, expected in _ONLY.items()
            if values.get(key, expected) != expected
        ]
        if "model_type" not in values:
            problems.append("model_type is missing, expected 'bert'")
        needed = list(cls.__dataclass_fields__)[:5]
        problems += [f"{key} is missing" for key in needed if key not in values]
        if problems:
            raise DataError(
                f"{source} is not of a BERT-type encoder: {'; '.join(problems)}; "
                "take a model such as all-MiniLM-L6-v2"
            )
        known = {key: values[key] for key in cls.__dataclass_fields__ if key in values}
        return cls(**known)


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
        """(n, length) token numbers -> (n, length, hidden_size).

        A soft prompt (count, hidden_size) comes before the words: length + count then.
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
    """Multi-head self-attention of all tokens to the tokens that are not padding."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        size = config.hidden_size
        self.num_heads = config.num_attention_heads
        self.prefix_dims = size
        self.query = nn.Linear(size, size)
        self.key = nn.Linear(size, size)
        self.value = nn.Linear(size, size)
        self.output = nn.Linear(size, size)

    def __call__(self, x: mx.array, mask: mx.array) -> mx.array:
        """(n, length, hidden_size), mask (n, 1, 1 or length, length) -> the same."""
        queries, keys, values = (
            self._heads(part(x)) for part in (self.query, self.key, self.value)
        )
        if "prefix_keys" in self:
            keys = self._after(self.prefix_keys, keys)
            values = self._after(self.prefix_values, values)
            mask = _seen(mask, len(self.prefix_keys))
        joined = attention(queries, keys, values, mask).swapaxes(1, 2).reshape(x.shape)
        output: mx.array = self.output(joined)
        return output

    def _after(self, prefix: mx.array, heads: mx.array) -> mx.array:
        """Put (count, hidden_size) of a prefix before (n, heads, length, head_size)."""
        own = self._heads(prefix[None]).astype(heads.dtype)
        own = mx.broadcast_to(own, (len(heads), *own.shape[1:]))
        return mx.concatenate([own, heads], axis=2)

    def _heads(self, x: mx.array) -> mx.array:
        n, length, size = x.shape
        split = x.reshape(n, length, self.num_heads, size // self.num_heads)
        return split.swapaxes(1, 2)


def _seen(mask: mx.array, count: int) -> mx.array:
    """The mask (..., count + length) of keys that have so many more before them."""
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

    def __call__(self, x: mx.array, mask: mx.array) -> mx.array:
        """(n, length, hidden_size), mask (n, 1, 1 or length, length) -> the same."""
        x = self.attention_norm(x + self.attention(x, mask))
        output: mx.array = self.output_norm(x + self.output(gelu(self.intermediate(x))))
        return output


class SentenceEncoder(nn.Module):
    """Sentences to unit vectors, from the tokens of the last layer.

    That is their normalised mean, or the first token alone, which is then one that
    stands for the sentence ([CLS]). The vectors of a `soft_prompt`, if there is one,
    are tokens like others.

    There is no dropout: adaptation must not depend on who computes it.
    """

    def __init__(self, config: EncoderConfig, pooling: Pooling = "mean") -> None:
        super().__init__()
        self.config = config
        self.pooling = pooling
        self.embeddings = Embeddings(config)
        self.layers = [EncoderLayer(config) for _ in range(config.num_hidden_layers)]
        self._features = Features()

    @property
    def vocab_size(self) -> int:
        """How many tokens there are."""
        return self.config.vocab_size

    def word_vectors(self, tokens: mx.array) -> mx.array:
        """(n,) token numbers -> (n, hidden_size), before positions are added."""
        vectors: mx.array = self.embeddings.word(tokens)
        return vectors

    def __call__(self, sentences: mx.array | Prepared) -> mx.array:
        """Embeddings (n, hidden_size), float32 of length 1.

        Args:
            sentences: (n, length) integers, `pad_token_id` being padding; or what
                `prepare` made of them.

        Raises:
            ShapeError: If they are not of that shape, or longer than the model's
                positions.
        """
        if isinstance(sentences, dict):
            return self._packed(sentences)
        prompt = self.get("soft_prompt")
        count = 0 if prompt is None else len(prompt)
        longest = self.config.max_position_embeddings - count
        whole = mx.issubdtype(sentences.dtype, mx.integer)
        if not whole or sentences.ndim != 2 or not 1 <= sentences.shape[1] <= longest:
            raise ShapeError(
                f"invalid shape: tokens {tuple(sentences.shape)} of {sentences.dtype}, "
                "expected integers (sentences, length) with a length of 1 to "
                f"{longest}; take tasks of text, such as the family intents"
            )
        present = sentences != self.config.pad_token_id
        if count:
            present = _seen(present, count)
        h = self._through(self.embeddings(sentences, prompt), present[:, None, None, :])
        if self.pooling == "cls":
            return unit(h[:, count])
        weight = present[..., None].astype(h.dtype)
        total = mx.maximum(weight.sum(axis=1), 1.0)
        return unit((h * weight).sum(axis=1) / total)

    def prepare(self, tokens: np.ndarray) -> Prepared | None:
        """What does not change while theta does: computed once, outside the inner loop.

        That is how sentences are packed into rows, and their hidden states below the
        first layer that adapts, which are remembered by sentence. Each is computed from
        its sentence alone: its bits do not hang on the batch that it is first met in.

        Args:
            tokens: (n, length) integers, padded at the end.

        Returns:
            None where embeddings adapt, or attention is not our own.
        """
        first = self._first_adapted()
        if first is None:
            return None
        lengths = _lengths(tokens, self.config.pad_token_id)
        rows = [row[:n] for row, n in zip(tokens, lengths, strict=True)]
        hidden = [self._features(row, first, self._frozen) for row in rows]
        return pack(hidden, self.pooling)

    def _packed(self, prepared: Prepared) -> mx.array:
        h, segment = prepared["hidden"], prepared["segment"]
        mask = segment[:, None, :, None] == segment[:, None, None, :]
        h = self._through(h, mask, self._first_adapted() or 0)
        return unit(prepared["pool"] @ h.reshape(-1, h.shape[-1]))

    def _frozen(self, row: np.ndarray, count: int) -> Hidden:
        """(length,) tokens -> (length, hidden_size) below layer `count`."""
        h = self.embeddings(mx.array(row)[None])
        mask = mx.ones((1, 1, 1, len(row)), mx.bool_)
        return np.array(self._through(h, mask, 0, count)[0])

    def _through(
        self, h: mx.array, mask: mx.array, first: int = 0, end: int | None = None
    ) -> mx.array:
        """What layers `first` to `end` make of hidden states."""
        for layer in self.layers[first:end]:
            h = layer(h, mask)
        return h

    def _first_adapted(self) -> int | None:
        """The first layer with leaves that adapt; None if all of it must be run.

        That is where embeddings or a prompt adapt, or where a layer's attention has
        been replaced by one that may want to know where a sentence begins.
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


def unit(x: mx.array) -> mx.array:
    """`x / |x|` along the last axis; a zero vector stays zero."""
    square = mx.sum(mx.square(x), axis=-1, keepdims=True)
    return x * mx.rsqrt(mx.maximum(square, 1e-24))


def read_encoder(where: str) -> SentenceEncoder:
    """The encoder of a Hugging Face folder, in float32.

    Args:
        where: The folder, OWNER/NAME of the hub or `package:NAME/FOLDER` (see
            `mlpeft.models.pretrained.source`).

    Raises:
        DataError: If files or weights are missing, or it is another architecture.
    """
    config_file = model_file(where, "config.json")
    try:
        values = json.loads(config_file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise DataError(f"{config_file} is not valid JSON: {error}") from error
    encoder = SentenceEncoder(
        EncoderConfig.from_dict(values, str(config_file)),
        read_pooling(config_file.parent),
    )
    file = model_file(where, WEIGHTS)
    try:
        loaded: Any = mx.load(str(file))
    except RuntimeError as error:
        raise DataError(f"{file} cannot be read as safetensors: {error}") from error
    weights = {our_name(name): leaf for name, leaf in loaded.items()}
    weights = {k: w.astype(mx.float32) for k, w in weights.items() if is_used(k)}
    _check_weights(encoder, weights, str(file))
    encoder.update(tree_unflatten(list(weights.items())))
    mx.eval(encoder.parameters())
    return encoder


def _check_weights(
    encoder: SentenceEncoder, weights: Mapping[str, mx.array], source: str
) -> None:
    """The file has the encoder's leaves, no others, each of its shape."""
    expected = {name: leaf.shape for name, leaf in tree_flatten(encoder.parameters())}
    found = {name: leaf.shape for name, leaf in weights.items()}
    wrong = sorted(
        name
        for name in expected.keys() | found.keys()
        if expected.get(name) != found.get(name)
    )
    if wrong:
        name = wrong[0]
        raise DataError(
            f"{source} does not fit its config.json: {len(wrong)} weights differ, "
            f"first {name}, expected {expected.get(name)}, got {found.get(name)}"
        )


def _lengths(tokens: np.ndarray, pad: int) -> list[int]:
    """Tokens of each row up to the last that is not padding, 1 at least."""
    present = tokens != pad
    ends = tokens.shape[1] - present[:, ::-1].argmax(axis=1)
    return [
        int(n) if some else 1 for n, some in zip(ends, present.any(axis=1), strict=True)
    ]
