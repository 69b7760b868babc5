"""A language model computes as its files say, or an error says what is wrong."""

from __future__ import annotations

import sys
from pathlib import Path

import mlx.core as mx
import mlx.nn as nn
import numpy as np
import pytest
from mlx.utils import tree_flatten

from mlpeft.config import ModelSection, PeftSection
from mlpeft.errors import ConfigError, DataError
from mlpeft.meta.functional import get_params
from mlpeft.models.build import build_model
from mlpeft.models.pretrained.causal_lm import is_quantised, read_causal_lm
from mlpeft.models.pretrained.tokenizers import read_language_tokenizer
from tests.models.pretrained import tiny_lm

pytest.importorskip("mlx_lm", reason="install it with: pip install 'mlpeft[lm]'")

REFERENCE = Path(__file__).parent / "data" / "smollm2_reference.npz"
TOKENS = mx.array([[3, 7, 9, 12, 5], [4, 5, 1, 30, 2]])


def test_smollm2_continues_texts_as_the_reference_implementation_does(smollm2):
    """data/make_smollm2.py made the reference, with torch and transformers.

    A text that a model continues greedily is one of which each token is the likeliest
    after those before it, so one pass over prompt and continuation tells.
    """
    model = read_causal_lm(smollm2)
    tokenizer = read_language_tokenizer(smollm2)
    with np.load(REFERENCE) as reference:
        for number, prompt in enumerate(reference["prompts"].tolist()):
            tokens = reference[f"tokens_{number}"]
            length = int(reference[f"length_{number}"])
            assert tokenizer.encode_prompt(prompt) == tokens[:length].tolist()
            logits = model(mx.array(tokens)[None])[0]
            continued = mx.argmax(logits, axis=-1)[length - 1 : -1].tolist()
            assert continued == tokens[length:].tolist()
            np.testing.assert_allclose(
                logits[:, :: int(reference["every"])],
                reference[f"logits_{number}"],
                atol=2e-3,
            )


def test_a_gguf_file_and_a_folder_of_one_model_compute_the_same(tmp_path):
    """So an adapter learned on the one fits the other: same names, same rows."""
    folder = read_causal_lm(str(tiny_lm.write(tmp_path / "folder")))
    gguf = read_causal_lm(str(tiny_lm.write_gguf(tmp_path / "tiny.gguf")))
    np.testing.assert_allclose(folder(TOKENS), gguf(TOKENS), atol=1e-5)
    leaves = dict(tree_flatten(gguf.parameters()))
    for name, leaf in tree_flatten(folder.parameters()):
        np.testing.assert_array_equal(leaf, leaves[name], err_msg=name)


def test_no_token_sees_those_after_it(tmp_path):
    model = read_causal_lm(str(tiny_lm.write(tmp_path)))
    longer = mx.concatenate([TOKENS, mx.full((2, 3), 8)], axis=1)
    np.testing.assert_allclose(model(longer)[:, :5], model(TOKENS), atol=1e-5)


@pytest.mark.parametrize(
    ("base_dtype", "dtype"),
    [("float32", mx.float32), ("bfloat16", mx.bfloat16)],
)
def test_weights_have_the_dtype_that_was_asked_for(tmp_path, base_dtype, dtype):
    model = read_causal_lm(str(tiny_lm.write(tmp_path)), base_dtype)
    assert {leaf.dtype for _, leaf in tree_flatten(model.parameters())} == {dtype}
    assert mx.all(mx.isfinite(model(TOKENS))).item()


def quantised(folder: Path) -> Path:
    """The tiny model with a 4-bit base, as mlx-lm writes it."""
    from mlx_lm.utils import load_model, quantize_model, save_config, save_model

    tiny_lm.write(folder)
    model, config = load_model(folder)
    model, config = quantize_model(model, config, group_size=32, bits=4)
    (folder / "model.safetensors").unlink()
    save_model(folder, model)
    save_config(config, folder / "config.json")
    return folder


def test_a_quantised_base_is_kept_or_dequantised_as_asked(tmp_path):
    where = str(quantised(tmp_path / "q"))
    kept, floats = read_causal_lm(where, "stored"), read_causal_lm(where, "float32")
    assert is_quantised(kept)
    assert not is_quantised(floats)
    np.testing.assert_allclose(kept(TOKENS), floats(TOKENS), atol=1e-4)


def test_lora_learns_beside_a_quantised_base_that_stays_as_it_is(tmp_path):
    """QLoRA: theta is the adapter alone, in float32, and its gradients are not zero."""
    where = str(quantised(tmp_path / "q"))
    section = ModelSection(backbone="causal_lm", weights=where, base_dtype="stored")
    model = build_model(section, (8,), 2, seed=1, peft=PeftSection(method="lora"))
    theta = get_params(model)
    assert set(theta) == {
        f"model.layers.{layer}.self_attn.{part}_proj.lora_{side}"
        for layer in (0, 1)
        for part in "qv"
        for side in "ab"
    }
    assert {leaf.dtype for leaf in theta.values()} == {mx.float32}
    before = {k: np.array(v) for k, v in tree_flatten(model.parameters())}
    loss = nn.value_and_grad(model, lambda m: mx.mean(m(TOKENS) ** 2))
    grads = dict(tree_flatten(loss(model)[1]))
    assert set(grads) == set(theta)
    assert mx.abs(grads["model.layers.0.self_attn.q_proj.lora_b"]).max().item() > 0
    for name, leaf in tree_flatten(model.parameters()):
        np.testing.assert_array_equal(leaf, before[name])


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_a_missing_file_is_named(tmp_path, name):
    (tiny_lm.write(tmp_path) / name).unlink()
    with pytest.raises(DataError, match=r"config\.json|safetensors"):
        read_causal_lm(str(tmp_path))


def test_an_architecture_that_mlx_lm_does_not_know_is_an_error(tmp_path):
    with pytest.raises(DataError, match="unheard_of not supported"):
        read_causal_lm(str(tiny_lm.write(tmp_path, model_type="unheard_of")))


def test_rotary_positions_in_the_form_of_transformers_5_are_used(tmp_path):
    old = read_causal_lm(str(tiny_lm.write(tmp_path / "old", rope_theta=500.0)))
    rope = {"rope_theta": 500.0, "rope_type": "default"}
    folder = tiny_lm.write(tmp_path / "new", rope_theta=None, rope_parameters=rope)
    np.testing.assert_array_equal(read_causal_lm(str(folder))(TOKENS), old(TOKENS))


def test_a_kind_that_needs_another_package_does_not_end_the_process(
    tmp_path, monkeypatch
):
    monkeypatch.setitem(sys.modules, "hf_olmo", None)  # as if it were not installed
    monkeypatch.delitem(sys.modules, "mlx_lm.models.olmo", raising=False)
    with pytest.raises(DataError, match="needs another package"):
        read_causal_lm(str(tiny_lm.write(tmp_path, model_type="olmo")))


def test_a_models_own_python_is_never_run(tmp_path):
    tiny_lm.write(tmp_path, model_file="model.py")
    (tmp_path / "model.py").write_text("raise SystemExit")
    with pytest.raises(DataError, match="custom"):
        read_causal_lm(str(tmp_path))


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ({"general.architecture": "mamba"}, "'mamba' model; only"),
        ({"llama.rope.scaling.type": "linear"}, "scales its rotary positions"),
        ({"llama.block_count": mx.array(3, mx.uint32)}, "do not match"),
    ],
)
def test_a_gguf_file_of_another_kind_is_refused_by_name(tmp_path, metadata, message):
    file = tiny_lm.write_gguf(tmp_path / "m.gguf", **metadata)
    with pytest.raises(DataError, match=message):
        read_causal_lm(str(file))


def test_a_damaged_gguf_file_is_an_error(tmp_path):
    file = tmp_path / "m.gguf"
    file.write_bytes(b"nonsense")
    with pytest.raises(DataError, match="cannot be read as GGUF"):
        read_causal_lm(str(file))


def test_a_configuration_without_weights_says_so():
    with pytest.raises(ConfigError, match="SmolLM2"):
        build_model(ModelSection(backbone="causal_lm"), (8,), 2, seed=0)
