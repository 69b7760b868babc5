"""Prompts and prefixes come before a text, in models that accept them."""

from __future__ import annotations

import mlx.core as mx
import mlx.nn as nn
import numpy as np
import pytest

from mlpeft.errors import ConfigError, ShapeError
from mlpeft.meta.functional import get_params
from mlpeft.models.mlp import SimpleClassifier
from mlpeft.peft.wrap import wrap
from tests.peft.models import TOKENS, encoder, move, peft


@pytest.mark.parametrize("method", ["prompt", "prefix"])
def test_a_model_without_support_for_virtual_tokens_is_refused(method):
    with pytest.raises(ConfigError, match=f"{method} needs a model .*use lora"):
        wrap(SimpleClassifier(3, 8, 2), peft(method=method))


def test_a_prompt_starts_as_vectors_of_words(tmp_path):
    model = encoder(tmp_path, peft(method="prompt", num_virtual_tokens=3)).encoder
    words = np.array(model.embeddings.word.weight)
    assert model.soft_prompt.shape == (3, 16)
    for vector in np.array(model.soft_prompt):
        assert (words == vector).all(axis=1).any()


def test_a_prompt_of_words_is_read_like_these_words(tmp_path):
    """The encoder of "3 7" before "9 4" is that of the sentence "3 7 9 4"."""
    model = encoder(tmp_path, peft(method="prompt", num_virtual_tokens=2)).encoder
    model.soft_prompt = model.word_vectors(mx.array([3, 7]))
    prompted = model(mx.array([[9, 4], [5, 0]]))
    del model.soft_prompt
    whole = model(mx.array([[3, 7, 9, 4], [3, 7, 5, 0]]))
    np.testing.assert_allclose(prompted, whole, atol=1e-6)


def test_a_prompt_takes_positions_from_the_text(tmp_path):
    """There are 40 positions."""
    model = encoder(tmp_path, peft(method="prompt", num_virtual_tokens=3)).encoder
    assert model(mx.ones((1, 37), dtype=mx.int32)).shape == (1, 16)
    with pytest.raises(ShapeError, match="1 to 37"):
        model(mx.ones((1, 38), dtype=mx.int32))


def test_a_prefix_is_attended_to_like_a_token(tmp_path):
    """Keys and values of a token as prefix, and the token left out of the text."""
    attention = encoder(tmp_path, peft(method="prefix", num_virtual_tokens=1))
    attention = attention.encoder.layers[0].attention
    x = mx.random.normal((1, 3, 16), key=mx.random.key(0))
    seen = mx.ones((1, 1, 1, 3), dtype=mx.bool_)
    first = x[0, :1]
    attention.prefix_keys = attention.key(first)
    attention.prefix_values = attention.value(first)
    prefixed = attention(x[:, 1:], seen[..., 1:])
    del attention.prefix_keys
    np.testing.assert_allclose(prefixed, attention(x, seen)[:, 1:], atol=1e-6)


def test_only_the_last_layers_get_a_prefix(tmp_path):
    leaves = get_params(encoder(tmp_path, peft(method="prefix", num_layers=1)))
    assert set(leaves) == {
        "encoder.layers.1.attention.prefix_keys",
        "encoder.layers.1.attention.prefix_values",
    }


@pytest.mark.parametrize("method", ["prompt", "prefix"])
def test_padding_changes_nothing(tmp_path, method):
    model = encoder(tmp_path, peft(method=method)).encoder
    move(model)
    padded = np.pad(TOKENS, ((0, 0), (0, 5)))
    np.testing.assert_allclose(
        model(mx.array(TOKENS)), model(mx.array(padded)), atol=1e-5
    )


def test_a_users_model_can_accept_a_prompt():
    class Bag(nn.Module):
        """The mean of the vectors of a text and of its prompt."""

        vocab_size = 5

        def __init__(self) -> None:
            super().__init__()
            self.words = nn.Embedding(5, 4)

        def word_vectors(self, tokens: mx.array) -> mx.array:
            return self.words(tokens)

        def __call__(self, tokens: mx.array) -> mx.array:
            vectors = self.words(tokens)
            if "soft_prompt" in self:
                vectors = vectors + self.soft_prompt.mean(axis=0)
            return vectors.mean(axis=1)

    model = Bag()
    wrap(model, peft(method="prompt", num_virtual_tokens=2))
    assert {name: leaf.shape for name, leaf in get_params(model).items()} == {
        "soft_prompt": (2, 4)
    }
