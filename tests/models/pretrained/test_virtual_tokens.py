"""mlx-lm's language models accept soft prompts and prefixes."""

from __future__ import annotations

import mlx.core as mx
import numpy as np
import pytest

from mlpeft.config import ModelSection
from mlpeft.errors import ConfigError
from mlpeft.meta.functional import get_params
from mlpeft.models.build import build_model
from mlpeft.models.pretrained.causal_lm import read_causal_lm
from mlpeft.models.pretrained.virtual_tokens import enable_virtual_tokens
from mlpeft.peft.wrap import wrap
from tests.models.pretrained import reference_lm, tiny_lm
from tests.peft.models import move, peft

generate = pytest.importorskip(
    "mlx_lm.generate", reason="install it with: pip install 'mlpeft[lm]'"
)

TOKENS = mx.array([[3, 7, 9, 12, 5], [4, 5, 1, 30, 2]])


def wrapped(folder, method, **keys):
    weights = str(tiny_lm.write(folder / "lm"))
    section = ModelSection(backbone="causal_lm", weights=weights)
    return build_model(section, (8,), 2, seed=1, peft=peft(method=method, **keys))


def test_a_plain_model_is_not_changed(tmp_path):
    from mlx_lm.utils import load_model

    folder = tiny_lm.write(tmp_path / "lm")
    model, _ = load_model(folder)
    np.testing.assert_array_equal(read_causal_lm(str(folder))(TOKENS), model(TOKENS))


def test_a_prompt_of_words_is_read_like_these_words(tmp_path):
    model = wrapped(tmp_path, "prompt", num_virtual_tokens=2)
    assert list(get_params(model)) == ["model.soft_prompt"]
    model.model.soft_prompt = model.model.word_vectors(mx.array([8, 11]))
    prompted = model(TOKENS)
    del model.model.soft_prompt
    words = mx.broadcast_to(mx.array([8, 11]), (2, 2))
    whole = model(mx.concatenate([words, TOKENS], axis=1))
    assert prompted.shape == (*TOKENS.shape, 40)
    np.testing.assert_allclose(prompted, whole[:, 2:], atol=1e-5)


def test_a_prefix_of_a_tokens_keys_and_values_is_that_token(tmp_path):
    """The caches of a text's beginning, as prefixes, and the rest of the text."""
    from mlx_lm.models.cache import ConcatenateKVCache

    model = wrapped(tmp_path, "prefix", num_virtual_tokens=3)
    layers = model.model.layers
    for layer in layers:
        del layer.self_attn.prefix_keys
    caches = [ConcatenateKVCache() for _ in layers]
    whole = model(TOKENS[:1], cache=caches)
    for layer, cache in zip(layers, caches, strict=True):
        for name, held in (("keys", cache.keys), ("values", cache.values)):
            rows = held[0, :, :3].swapaxes(0, 1).reshape(3, -1)
            setattr(layer.self_attn, f"prefix_{name}", rows)
    np.testing.assert_allclose(model(TOKENS[:1, 3:]), whole[:, 3:], atol=1e-5)


@pytest.mark.parametrize("method", ["prompt", "prefix"])
@pytest.mark.parametrize("length", [1, 5])
def test_generating_token_by_token_agrees_with_one_pass(tmp_path, method, length):
    """The virtual tokens come in once, however the text is cut."""
    model = wrapped(tmp_path, method, num_virtual_tokens=3)
    move(model)
    start = TOKENS[0, :length]
    steps = generate.generate_step(start, model, max_tokens=4)
    said = [int(token) for token, _ in steps]
    whole = mx.concatenate([start, mx.array(said)])[None]
    likeliest = mx.argmax(model(whole)[0], axis=-1).tolist()
    assert likeliest[length - 1 : -1] == said


@pytest.mark.parametrize("method", ["prompt", "prefix"])
def test_gradients_reach_the_virtual_tokens(tmp_path, method):
    model = wrapped(tmp_path, method)

    def loss(leaves):
        model.load_weights(list(leaves.items()), strict=False)
        return mx.square(model(TOKENS)).mean()

    for leaf in mx.grad(loss)(get_params(model)).values():
        assert 0 < float(mx.abs(leaf).max()) < np.inf


@pytest.mark.parametrize("num_layers", [1, 2])
def test_layers_with_a_prefix_attend_to_it_and_others_do_not(tmp_path, num_layers):
    """Every number against attention written out in NumPy."""
    model = wrapped(tmp_path, "prefix", num_layers=num_layers, num_virtual_tokens=3)
    move(model)
    prefixes = {}
    for number, layer in enumerate(model.model.layers):
        held = layer.self_attn
        if "prefix_keys" in held:
            prefixes[number] = np.array(held.prefix_keys), np.array(held.prefix_values)
    assert list(prefixes) == [0, 1][-num_layers:]
    for row, found in zip(TOKENS.tolist(), np.array(model(TOKENS)), strict=True):
        expected = reference_lm.logits(row, prefixes)
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)
        without = reference_lm.logits(row, {})
        assert np.abs(found - without).max() > 0.1


@pytest.mark.parametrize("method", ["prompt", "prefix"])
@pytest.mark.parametrize("num_layers", [1, None])
def test_later_tokens_and_padding_change_nothing_before_them(
    tmp_path, method, num_layers
):
    model = wrapped(tmp_path, method, num_layers=num_layers)
    move(model)
    padded = mx.pad(TOKENS, [(0, 0), (0, 3)])
    np.testing.assert_allclose(model(padded)[:, :5], model(TOKENS), atol=1e-5)


@pytest.mark.parametrize(
    ("kind", "sizes"),
    [
        ("llama", {"layer_types": ["full_attention"] * 2 + ["sliding_attention"]}),
        ("gemma3_text", {"sliding_window_pattern": 2, "query_pre_attn_scalar": 16}),
    ],
)
def test_architectures_with_a_sliding_window_take_prompts_but_no_prefixes(kind, sizes):
    model = tiny_lm.of_kind(kind, num_hidden_layers=3, sliding_window=4, **sizes)
    enable_virtual_tokens(model)
    with pytest.raises(ConfigError, match="prefix needs a model"):
        wrap(model, peft(method="prefix", num_layers=1))
    wrap(model, peft(method="prompt", num_virtual_tokens=3))
    assert model(TOKENS).shape == (*TOKENS.shape, 40)


def test_an_architecture_that_counts_positions_by_tokens_takes_a_prompt():
    rope = {
        "rope_theta": 1e4,
        "original_max_position_embeddings": 2,
        "llama_4_scaling_beta": 0.1,
    }
    model = tiny_lm.of_kind("ministral3", rope_parameters=rope)
    enable_virtual_tokens(model)
    wrap(model, peft(method="prompt", num_virtual_tokens=2))
    model.model.soft_prompt = model.model.word_vectors(mx.array([8, 11]))
    prompted = model(TOKENS)
    del model.model.soft_prompt
    words = mx.broadcast_to(mx.array([8, 11]), (2, 2))
    whole = model(mx.concatenate([words, TOKENS], axis=1))
    np.testing.assert_allclose(prompted, whole[:, 2:], atol=1e-5)
