"""Exported folders have what others look for, and imported ones give the same model."""

from __future__ import annotations

import json
import shlex
import sys

import mlx.core as mx
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from mlpeft.adapters.adapt import adapt
from mlpeft.adapters.adapter import Adapter
from mlpeft.adapters.completer import Completer
from mlpeft.adapters.start import as_adapter
from mlpeft.config import RunConfig
from mlpeft.errors import CheckpointError, ConfigError, DataError
from mlpeft.exchange.export import export_adapter, import_adapter
from mlpeft.models.pretrained.encoder_weights import read_encoder
from mlpeft.training.trained import load_trained
from tests.adapters.runs import EXAMPLES, write_run
from tests.models.pretrained import tiny_lm

TOKENS = mx.array([[2, 3, 4, 5], [6, 7, 8, 0]])
LAYER = "base_model.model.encoder.layer.1.attention.self.query."


def adapted(folder, **sections) -> Adapter:
    """An adapter of the tiny encoder whose leaves have all moved."""
    adapter = adapt(write_run(folder, **sections), EXAMPLES, steps=1)
    return moved(adapter)


def language_start(folder, base=None, **sections) -> Adapter:
    """The start of a run of the tiny language model, with moved leaves."""
    base = base or tiny_lm.write(folder / "lm")
    model = {"backbone": "causal_lm"}
    run = write_run(folder, base, model=model | {"weights": str(base)}, **sections)
    return moved(as_adapter(load_trained(run)))


def moved(adapter: Adapter) -> Adapter:
    rng = np.random.default_rng(0)
    for name, leaf in sorted(adapter.leaves.items()):
        noise = rng.normal(size=leaf.shape) * 0.1
        adapter.leaves[name] = (leaf + noise).astype(np.float32)
    return adapter


def other_run(adapter: Adapter, folder, **peft) -> RunConfig:
    """A run of the same base, without the adapter."""
    return adapter.config.with_changes(
        run={"name": "imported"}, paths={"checkpoint_dir": str(folder)}, peft=peft
    )


@pytest.mark.parametrize(
    ("method", "leaves"),
    [
        ("lora", {"lora_A.weight": (2, 16), "lora_B.weight": (16, 2)}),
        (
            "dora",
            {
                "lora_A.weight": (2, 16),
                "lora_B.weight": (16, 2),
                "lora_magnitude_vector": (16,),
            },
        ),
    ],
)
def test_a_peft_folder_has_pefts_names_and_layout(tmp_path, method, leaves):
    peft = {"method": method, "rank": 2, "keys": ["query"], "num_layers": 1}
    adapter = adapted(tmp_path, peft=peft)
    folder = export_adapter(adapter, "peft", tmp_path / "out")
    arrays = load_file(folder / "adapter_model.safetensors")
    assert {name: leaf.shape for name, leaf in arrays.items()} == {
        LAYER + name: shape for name, shape in leaves.items()
    }
    settings = json.loads((folder / "adapter_config.json").read_text())
    assert settings["peft_type"] == "LORA"
    assert settings["task_type"] == "FEATURE_EXTRACTION"
    assert settings["use_dora"] == (method == "dora")
    assert settings["lora_alpha"] / settings["r"] == 2.0
    assert settings["target_modules"] == ["encoder.layer.1.attention.self.query"]


def test_a_head_is_written_beside_the_base_with_its_labels(tmp_path):
    adapter = adapted(tmp_path)
    folder = export_adapter(adapter, "peft", tmp_path / "out")
    head = load_file(folder / "head.safetensors")
    np.testing.assert_array_equal(head["weight"], adapter.leaves["head.weight"])
    labels = json.loads((folder / "labels.json").read_text())
    assert labels == {"labels": ["delivery", "refund"], "scale": 10.0}
    assert "head.safetensors" in (folder / "README.md").read_text()


def test_a_cosine_head_is_written_as_plain_weights_that_compute_the_same(tmp_path):
    adapter = adapted(tmp_path, model={"head": "cosine"})
    folder = export_adapter(adapter, "peft", tmp_path / "out")
    head = load_file(folder / "head.safetensors")
    embeddings = np.asarray(adapter.model.embed(mx.array(adapter.tokenizer(["money"]))))
    plain = 10.0 * embeddings @ head["weight"].T + head["bias"]
    outputs = adapter.model(mx.array(adapter.tokenizer(["money"])))
    np.testing.assert_allclose(outputs, plain, rtol=1e-5)


@pytest.mark.parametrize(
    "peft",
    [
        {"method": "lora", "rank": 2},
        {"method": "lora", "rank": 4, "alpha": 6.0, "rslora": True},
        {"method": "dora", "rank": 2, "scale": 3.0},
        {"method": "ia3"},
        {"method": "prompt", "num_virtual_tokens": 3},
    ],
)
def test_what_peft_would_read_is_imported_as_the_same_model(tmp_path, peft):
    adapter = adapted(tmp_path, peft=peft)
    folder = export_adapter(adapter, "peft", tmp_path / "out")
    config = other_run(adapter, tmp_path, method="bitfit")
    start = as_adapter(load_trained(import_adapter(folder, config)))
    np.testing.assert_allclose(
        start.model.encoder(TOKENS), adapter.model.encoder(TOKENS), atol=1e-6
    )


@pytest.mark.parametrize(
    ("method", "format_"),
    [
        ("lora", "mlx-lm"),
        ("dora", "mlx-lm"),
        ("lora", "peft"),
        ("dora", "peft"),
        ("prompt", "peft"),
        ("prefix", "peft"),
    ],
)
def test_a_language_models_adapter_comes_back_as_it_was(tmp_path, method, format_):
    adapter = language_start(tmp_path, peft={"method": method, "rank": 2})
    folder = export_adapter(adapter, format_, tmp_path / "out")
    start = as_adapter(
        load_trained(import_adapter(folder, other_run(adapter, tmp_path)))
    )
    assert set(start.leaves) == set(adapter.leaves)
    for name, leaf in adapter.leaves.items():
        np.testing.assert_array_equal(start.leaves[name], leaf)
    np.testing.assert_allclose(start.model(TOKENS), adapter.model(TOKENS), atol=1e-6)


@pytest.mark.parametrize(
    "peft",
    [
        {"method": "lora", "rank": 2},
        {"method": "dora", "rank": 2, "keys": ["self_attn.*"], "num_layers": 1},
        {"method": "lora", "rank": 2, "keys": ["layers.0.mlp.*", "layers.1.*.q_proj"]},
    ],
)
def test_mlx_lm_loads_the_folder_and_generates_with_it(tmp_path, peft):
    """Its own loader and its own layers give the logits of ours."""
    mlx_lm = pytest.importorskip("mlx_lm", reason="pip install 'mlpeft[lm]'")
    adapter = language_start(tmp_path, peft=peft)
    folder = export_adapter(adapter, "mlx-lm", tmp_path / "out")
    settings = json.loads((folder / "adapter_config.json").read_text())
    assert settings["num_layers"] == peft.get("num_layers", 2)
    base = str(tmp_path / "lm")
    model, tokenizer = mlx_lm.load(base, adapter_path=str(folder))
    np.testing.assert_allclose(model(TOKENS), adapter.model(TOKENS), atol=1e-5)
    plain, _ = mlx_lm.load(base)
    assert np.abs(np.array(plain(TOKENS) - model(TOKENS))).max() > 1e-3
    assert isinstance(mlx_lm.generate(model, tokenizer, "ab", max_tokens=3), str)


@pytest.mark.parametrize("format_", ["mlx-lm", "merged"])
def test_the_cards_command_goes_on_as_the_adapter_does(
    tmp_path, monkeypatch, capsys, format_
):
    """mlx_lm.generate, called as the model card says, though the base has a chat."""
    generate = pytest.importorskip("mlx_lm.generate", reason="pip install 'mlpeft[lm]'")
    config = tmp_path / "lm" / "tokenizer_config.json"
    params = {"template": "say {prompt}, b\n", "path": "none.jsonl"}
    adapter = language_start(tmp_path, task_distribution={"task_params": params})
    chat = "{% for m in messages %}zz {{ m.content }}{% endfor %}"
    config.write_text(json.dumps({"eos_token": "<end>", "chat_template": chat}))
    folder = export_adapter(adapter, format_, tmp_path / "out")
    parts = {name: getattr(adapter, name) for name in ("config", "leaves", "history")}
    (said,) = Completer(labels=(), **parts).predict(["ab"], max_tokens=5)
    card = (folder / "README.md").read_text()
    assert '`"say {prompt}, b\\n"`' in card
    command = card.partition("```bash\n")[2].partition("```")[0].replace("\\\n", "")
    names = {"BASE": str(tmp_path / "lm"), "FOLDER": str(folder)}
    words = [names.get(word, word) for word in shlex.split(command)]
    words = [word.replace("...", "ab") for word in words]
    monkeypatch.setattr(sys, "argv", [*words, "--max-tokens", "5", "--verbose", "F"])
    generate.main()
    assert capsys.readouterr().out.strip() == said.strip()


def test_a_merged_encoder_is_read_like_its_base(tmp_path):
    adapter = adapted(tmp_path)
    folder = export_adapter(adapter, "merged", tmp_path / "out")
    merged = read_encoder(str(folder))
    np.testing.assert_allclose(merged(TOKENS), adapter.model.encoder(TOKENS), atol=1e-6)
    base = load_file(tmp_path / "base" / "model.safetensors")
    written = load_file(folder / "model.safetensors")
    assert set(written) == set(base)
    changed = {name for name in base if (base[name] != written[name]).any()}
    assert {name.rpartition(".")[0].rpartition(".")[2] for name in changed} == {
        "query",
        "value",
    }


def test_a_merged_language_model_is_loaded_by_mlx_lm(tmp_path):
    mlx_lm = pytest.importorskip("mlx_lm", reason="pip install 'mlpeft[lm]'")
    adapter = language_start(tmp_path)
    folder = export_adapter(adapter, "merged", tmp_path / "out")
    model, _ = mlx_lm.load(str(folder))
    np.testing.assert_allclose(model(TOKENS), adapter.model(TOKENS), atol=1e-5)


def test_a_gguf_file_is_merged_into_a_folder_that_mlx_lm_loads(tmp_path):
    mlx_lm = pytest.importorskip("mlx_lm", reason="pip install 'mlpeft[lm]'")
    metadata = {"general.license": "apache-2.0"}
    base = tiny_lm.write_gguf(tmp_path / "tiny.gguf", **metadata)
    adapter = language_start(tmp_path, base)
    folder = export_adapter(adapter, "merged", tmp_path / "out")
    model, tokenizer = mlx_lm.load(str(folder))
    np.testing.assert_allclose(model(TOKENS), adapter.model(TOKENS), atol=1e-5)
    assert tokenizer.decode(tokenizer.encode("cab")) == "cab"
    assert tokenizer.eos_token_id == 0
    card = (folder / "README.md").read_text()
    assert "| licence of the base | apache-2.0 |" in card


def test_a_start_is_exported_without_a_head(tmp_path):
    folder = export_adapter(write_run(tmp_path), "peft", tmp_path / "out")
    assert not (folder / "head.safetensors").exists()
    assert "a start to adapt from" in (folder / "README.md").read_text()


@pytest.mark.parametrize(
    ("peft", "format_", "told"),
    [
        ({"method": "bitfit"}, "peft", "no equivalent of bitfit; export .* merged"),
        ({"method": "prefix"}, "peft", "prefixes only in all layers of a causal_lm"),
        ({"method": "adapter"}, "peft", "keep the folder of mlpeft adapt"),
        ({"method": "prompt"}, "merged", "cannot be merged"),
        ({"method": "lora"}, "mlx-lm", "mlx-lm reads language models only"),
        (
            {"method": "lora", "train_also": ["layers.0.output_norm"]},
            "peft",
            "cannot hold encoder.layers.0.output_norm.bias.* export with .* merged",
        ),
    ],
)
def test_what_a_format_cannot_hold_is_told(tmp_path, peft, format_, told):
    adapter = adapted(tmp_path, peft=peft)
    with pytest.raises(ConfigError, match=told):
        export_adapter(adapter, format_, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_mlx_lm_has_no_ia3(tmp_path):
    adapter = language_start(tmp_path, peft={"method": "ia3"})
    with pytest.raises(ConfigError, match="mlx-lm has lora and dora, got ia3"):
        export_adapter(adapter, "mlx-lm", tmp_path / "out")


def test_nothing_is_written_over(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "precious").touch()
    with pytest.raises(DataError, match="exists; give a new"):
        export_adapter(write_run(tmp_path), "peft", tmp_path / "out")


def test_an_import_does_not_write_over_a_run(tmp_path):
    adapter = adapted(tmp_path)
    folder = export_adapter(adapter, "peft", tmp_path / "out")
    import_adapter(folder, other_run(adapter, tmp_path))
    with pytest.raises(CheckpointError, match="already holds a run"):
        import_adapter(folder, other_run(adapter, tmp_path))


def change_settings(folder, **changes):
    """Change keys of adapter_config.json; None removes one."""
    file = folder / "adapter_config.json"
    settings = json.loads(file.read_text()) | changes
    kept = {key: value for key, value in settings.items() if value is not None}
    file.write_text(json.dumps(kept))


def test_without_rank_and_alpha_an_adapter_has_pefts_defaults(tmp_path):
    adapter = adapted(tmp_path, peft={"rank": 8})
    folder = export_adapter(adapter, "peft", tmp_path / "out")
    change_settings(folder, r=None, lora_alpha=None)
    run = import_adapter(folder, other_run(adapter, tmp_path))
    section = load_trained(run).config.peft
    assert (section.rank, section.alpha) == (8, 8)


@pytest.mark.parametrize("start", [True, False, "gaussian", "eva"])
def test_a_start_that_left_the_base_alone_is_read(tmp_path, start):
    adapter = adapted(tmp_path)
    folder = export_adapter(adapter, "peft", tmp_path / "out")
    change_settings(folder, init_lora_weights=start)
    assert import_adapter(folder, other_run(adapter, tmp_path)).is_dir()


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_leaves_that_are_not_finite_are_named(tmp_path, value):
    adapter = adapted(tmp_path)
    folder = export_adapter(adapter, "peft", tmp_path / "out")
    file = folder / "adapter_model.safetensors"
    leaves = load_file(file)
    leaves[f"{LAYER}lora_A.weight"][0, 0] = value
    save_file(leaves, file)
    with pytest.raises(
        DataError, match=r"query\.lora_A\.weight has values that are not"
    ):
        import_adapter(folder, other_run(adapter, tmp_path))


def test_weights_that_are_no_safetensors_get_the_true_reason(tmp_path):
    adapter = adapted(tmp_path)
    folder = export_adapter(adapter, "peft", tmp_path / "out")
    file = folder / "adapter_model.safetensors"
    file.write_bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n")
    with pytest.raises(DataError, match=r"is a pointer of Git LFS.* run: git lfs pull"):
        import_adapter(folder, other_run(adapter, tmp_path))
    file.unlink()
    with pytest.raises(DataError, match=r"no adapter_model\.safetensors in "):
        import_adapter(folder, other_run(adapter, tmp_path))
    (folder / "adapter_model.bin").touch()
    with pytest.raises(
        DataError, match=r"adapter_model\.bin is a pickle, which may run"
    ):
        import_adapter(folder, other_run(adapter, tmp_path))


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"peft_type": "LOHA"}, "peft_type is 'LOHA'; mlpeft reads IA3, LORA, P"),
        ({"rank_pattern": {"query": 9}}, "rank_pattern is {'query': 9}"),
        ({"r": 5}, "Is it an adapter of another base"),
        ({"lora_bias": True}, "lora_bias is True; mlpeft supports False"),
        ({"init_lora_weights": "pissa"}, "is 'pissa', which changed the base's weig"),
        ({"init_lora_weights": "pissa_niter_4"}, "convert it with peft's save_pretr"),
        ({"init_lora_weights": "olora"}, "is 'olora', which changed the base's"),
        ({"init_lora_weights": "loftq"}, "merge it with merge_and_unload"),
        ({"init_lora_weights": "corda"}, "is 'corda', which changed the base's"),
        ({"modules_to_save": ["score"]}, r"\['score'\]: it holds more of the base"),
        ({"trainable_token_indices": [1]}, "train it without trainable_token_ind"),
    ],
)
def test_an_adapter_that_is_not_ours_to_compute_is_told(tmp_path, changes, told):
    adapter = adapted(tmp_path)
    folder = export_adapter(adapter, "peft", tmp_path / "out")
    change_settings(folder, **changes)
    with pytest.raises(DataError, match=told):
        import_adapter(folder, other_run(adapter, tmp_path))


def test_a_leaf_that_is_missing_or_strange_is_told(tmp_path):
    adapter = adapted(tmp_path)
    folder = export_adapter(adapter, "peft", tmp_path / "out")
    file = folder / "adapter_model.safetensors"
    arrays = load_file(file)
    gone = LAYER + "lora_B.weight"
    save_file({name: arrays[name] for name in arrays if name != gone}, file)
    with pytest.raises(DataError, match=r"query.lora_b' is missing"):
        import_adapter(folder, other_run(adapter, tmp_path))
    save_file(arrays | {LAYER + "extra": np.zeros(1, np.float32)}, file)
    with pytest.raises(DataError, match="no leaf of lora of a linear layer"):
        import_adapter(folder, other_run(adapter, tmp_path))
    save_file(
        {"base_model.model.nowhere.lora_A.weight": np.zeros((2, 16), np.float32)}, file
    )
    with pytest.raises(DataError, match="the base has no layer 'nowhere'"):
        import_adapter(folder, other_run(adapter, tmp_path))


def test_a_folder_that_is_no_adapter_is_told(tmp_path):
    config = RunConfig.load(write_run(tmp_path) / "config.yaml")
    with pytest.raises(DataError, match=r"no adapter_config\.json in"):
        import_adapter(tmp_path, config)
