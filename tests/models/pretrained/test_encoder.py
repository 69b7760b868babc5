"""The sentence encoder computes as its weights say, or an error says what is wrong."""

from __future__ import annotations

from pathlib import Path

import mlx.core as mx
import numpy as np
import pytest
from mlx.utils import tree_flatten
from safetensors.numpy import save_file

from mlpeft.errors import DataError, ShapeError
from mlpeft.models.pretrained.encoder_weights import read_encoder
from mlpeft.models.pretrained.source import model_file
from mlpeft.models.pretrained.tokenizers import TOKENIZER, Tokeniser
from tests.models.pretrained import tiny

REFERENCE = Path(__file__).parent / "data" / "minilm_embeddings.npz"


def test_minilm_gives_the_embeddings_of_the_reference_implementation(minilm):
    """data/make_embeddings.py made the reference, with torch and transformers."""
    with np.load(REFERENCE) as reference:
        sentences, tokens, expected = (
            reference[name] for name in ("sentences", "tokens", "embeddings")
        )
    tokenised = Tokeniser(model_file(minilm, TOKENIZER), 64)(sentences.tolist())
    np.testing.assert_array_equal(tokenised.rows, tokens)
    embeddings = np.array(read_encoder(minilm)(mx.array(tokens)))
    assert (embeddings * expected).sum(axis=1).min() > 0.99999
    np.testing.assert_allclose(embeddings, expected, atol=2e-6)


def test_padding_changes_no_embedding(tmp_path):
    encoder = read_encoder(str(tiny.write(tmp_path)))
    tokens = mx.array([[3, 7, 9, 0], [4, 5, 0, 0]])
    longer = mx.concatenate([tokens, mx.zeros((2, 5), dtype=mx.int32)], axis=1)
    np.testing.assert_allclose(encoder(tokens), encoder(longer), atol=1e-6)
    alone = encoder(mx.array([[4, 5]]))
    np.testing.assert_allclose(encoder(tokens)[1:], alone, atol=1e-6)


def test_the_order_of_words_matters(tmp_path):
    encoder = read_encoder(str(tiny.write(tmp_path)))
    first, second = encoder(mx.array([[3, 7, 9], [9, 7, 3]]))
    assert float(mx.abs(first - second).max()) > 1e-4


def test_embeddings_are_unit_vectors(tmp_path):
    encoder = read_encoder(str(tiny.write(tmp_path)))
    lengths = mx.linalg.norm(encoder(mx.array([[3, 7, 9], [2, 0, 0]])), axis=1)
    np.testing.assert_allclose(lengths, 1.0, atol=1e-6)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_a_missing_file_is_named(tmp_path, name):
    (tiny.write(tmp_path) / name).unlink()
    with pytest.raises(DataError, match=f"has no {name}"):
        read_encoder(str(tmp_path))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model_type": "roberta"}, "model_type is 'roberta', expected 'bert'"),
        ({"hidden_act": "relu"}, "hidden_act is 'relu'"),
        ({"position_embedding_type": "relative_key"}, "'relative_key'"),
    ],
)
def test_another_architecture_is_refused_by_name(tmp_path, changes, message):
    with pytest.raises(DataError, match=message):
        read_encoder(str(tiny.write(tmp_path, **changes)))


def test_weights_that_do_not_fit_are_named(tmp_path):
    with pytest.raises(DataError, match=r"layers\.2.* got None"):
        read_encoder(str(tiny.write(tmp_path, num_hidden_layers=3)))


def test_a_damaged_file_of_weights_is_an_error(tmp_path):
    (tiny.write(tmp_path) / "model.safetensors").write_bytes(b"nonsense")
    with pytest.raises(DataError, match="cannot be read as safetensors"):
        read_encoder(str(tmp_path))


def test_encoders_of_other_sizes_are_read(tmp_path):
    sizes = {"hidden_size": 24, "num_hidden_layers": 3, "intermediate_size": 10}
    tiny.write(tmp_path, num_attention_heads=4, **sizes)
    save_file(tiny.weights(**sizes), tmp_path / "model.safetensors")
    encoder = read_encoder(str(tmp_path))
    assert encoder(mx.array([[3, 7, 9]])).shape == (1, 24)
    assert len(encoder.layers) == 3


def test_weights_in_half_precision_are_computed_with_in_float32(tmp_path):
    tiny.write(tmp_path)
    halves = {k: w.astype(np.float16) for k, w in tiny.weights().items()}
    save_file(halves, tmp_path / "model.safetensors")
    assert read_encoder(str(tmp_path))(mx.array([[3, 7]])).dtype == mx.float32


@pytest.mark.parametrize("shape", [(2, 41), (3,), (2, 3, 4)])
def test_tokens_of_another_shape_are_refused(tmp_path, shape):
    encoder = read_encoder(str(tiny.write(tmp_path)))
    with pytest.raises(ShapeError, match="expected integers"):
        encoder(mx.ones(shape, dtype=mx.int32))


def test_floats_are_refused_as_tokens(tmp_path):
    encoder = read_encoder(str(tiny.write(tmp_path)))
    with pytest.raises(ShapeError, match="float32"):
        encoder(mx.ones((2, 3)))


@pytest.mark.parametrize(
    ("where", "message"),
    [
        ("no/such/folder", "no pretrained model at .*no/such/folder"),
        ("package:no_such_package/model", "'no_such_package' is not installed"),
        ("package:mlpeft/no_such_folder", "has no folder 'no_such_folder'"),
        ("package:os.path/model", "'os.path' is not installed"),
    ],
)
def test_a_missing_model_is_an_error_that_names_it(where, message):
    with pytest.raises(DataError, match=message):
        read_encoder(where)


def test_without_gradients_vectors_are_the_same(tmp_path):
    encoder = read_encoder(str(tiny.write(tmp_path)))
    tokens = mx.array([[2, 3, 4, 5], [2, 6, 0, 0]], mx.int32)
    slow = np.array(encoder(tokens))
    leaves = dict(tree_flatten(encoder.parameters()))
    kept = {name: np.array(leaf) for name, leaf in leaves.items()}
    encoder.without_gradients()
    np.testing.assert_allclose(np.array(encoder(tokens)), slow, atol=1e-5)
    for name, leaf in tree_flatten(encoder.parameters()):
        np.testing.assert_array_equal(np.array(leaf), kept[name], err_msg=name)


def test_without_gradients_the_columns_of_weights_are_contiguous(tmp_path):
    encoder = read_encoder(str(tiny.write(tmp_path)))
    encoder.without_gradients()
    layer = encoder.layers[0]
    for linear in (layer.attention.query, layer.intermediate, layer.output):
        strides = np.asarray(linear.weight).strides
        assert strides[0] == 4 < strides[1]


def test_layers_are_those_of_encoders_that_end_there(tmp_path):
    """Two layers: pooled are the embeddings, the first layer and, in front, the last.

    [last, lower / 2, ...] has the squared norm 1 + 2 / 4.
    """
    encoder = read_encoder(str(tiny.write(tmp_path)))
    tokens = mx.array([[3, 7, 9, 0], [4, 5, 0, 0]])
    found = np.array(encoder.of_layers(tokens)) * np.sqrt(1.5)
    assert found.shape == (2, encoder.layers_dims)
    expected = [encoder(tokens)]
    whole = encoder.layers
    for end in (0, 1):
        encoder.layers = whole[:end]
        expected.append(0.5 * encoder(tokens))
    np.testing.assert_allclose(found, np.concatenate(expected, axis=1), atol=1e-6)
