"""onnxruntime computes from an exported graph what we compute."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
from typer.testing import CliRunner

from mlpeft.adapters.ngrams import ngrams
from mlpeft.adapters.start import as_adapter
from mlpeft.adapters.text_classifier import TextClassifier
from mlpeft.cli import app
from mlpeft.errors import ConfigError
from mlpeft.exchange.export import export_adapter
from mlpeft.heads.linear import narrowed
from mlpeft.training.trained import load_trained
from tests.adapters.runs import EXAMPLES, write_base, write_run
from tests.exchange.test_export import adapted, language_start, moved

pytest.importorskip("onnx", reason="needs the extra onnx")
onnxruntime = pytest.importorskip("onnxruntime", reason="needs the extra onnx")
from tokenizers import Tokenizer  # noqa: E402

TEXTS = ["where is my parcel", "money", "please please money back my parcel is", "xyz"]


def run(folder, texts, name="model.onnx"):
    """Outputs by name, as the model card says to get them."""
    settings = json.loads((folder / "labels.json").read_text())
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.enable_truncation(settings["max_tokens"])
    tokenizer.enable_padding(pad_id=settings["pad_id"])
    encoded = tokenizer.encode_batch(texts)
    session = onnxruntime.InferenceSession(folder / name)
    inputs = {
        "input_ids": np.array([one.ids for one in encoded]),
        "attention_mask": np.array([one.attention_mask for one in encoded]),
    }
    if settings["ngrams"]:
        inputs["ngrams"] = ngrams(texts)
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, inputs), strict=True))


def check(adapter, folder, texts=TEXTS, atol=1e-5):
    found = run(folder, texts)
    # Embeddings hold no n-grams: they are of the encoder.
    expected = narrowed(adapter.embed(texts), found["embeddings"].shape[1])
    np.testing.assert_allclose(found["embeddings"], expected, atol=atol)
    np.testing.assert_allclose(
        found["probabilities"], adapter.probabilities(texts), atol=atol
    )
    return found


@pytest.mark.parametrize(
    "sections",
    [
        {"peft": {"method": "lora", "rank": 2}},
        {"peft": {"method": "dora", "rank": 2}},
        {"peft": {"method": "ia3"}},
        {"peft": {"method": "bitfit"}},
        {"model": {"head": "cosine"}},
        {
            "model": {"projected": True},
            "peft": {"method": "lora", "rank": 2, "train_also": ["projection"]},
        },
    ],
    ids=lambda sections: "-".join(
        str(v) for s in sections.values() for v in s.values()
    ),
)
def test_an_adapted_encoder_is_merged_into_the_graph(tmp_path, sections):
    adapter = adapted(tmp_path, **sections)
    check(adapter, export_adapter(adapter, "onnx", tmp_path / "onnx"))


@pytest.mark.parametrize("head", ["logistic", "ngrams", "layers"])
@pytest.mark.parametrize("pooling", ["cls_token", "mean_tokens"])
def test_tokens_and_layers_are_pooled_as_the_head_sees_them(tmp_path, pooling, head):
    base = write_base(tmp_path / "base")
    (base / "1_Pooling").mkdir(exist_ok=True)
    settings = json.dumps({f"pooling_mode_{pooling}": True})
    (base / "1_Pooling" / "config.json").write_text(settings)
    texts, labels = map(list, zip(*EXAMPLES, strict=True))
    clf = TextClassifier.fit(texts, labels, base=base, head=head)
    check(clf.adapter_, export_adapter(clf.adapter_, "onnx", tmp_path / "onnx"))


def test_labels_that_do_not_exclude_each_other_have_probabilities_of_their_own(
    tmp_path,
):
    labels = [[label] for _, label in EXAMPLES[:3]] + [["delivery", "refund"]]
    texts = [text for text, _ in EXAMPLES]
    clf = TextClassifier.fit(texts, labels, base=write_base(tmp_path / "base"))
    folder = export_adapter(clf.save(tmp_path / "a"), "onnx", tmp_path / "onnx")
    found = check(clf.adapter_, folder)
    assert not np.allclose(found["probabilities"].sum(axis=1), 1.0)


def test_a_start_has_embeddings_alone(tmp_path):
    start = moved(as_adapter(load_trained(write_run(tmp_path))))
    folder = export_adapter(start, "onnx", tmp_path / "onnx")
    found = run(folder, TEXTS)
    assert list(found) == ["embeddings"]
    np.testing.assert_allclose(np.linalg.norm(found["embeddings"], axis=1), 1.0, 1e-5)


@pytest.mark.parametrize("head", ["ngrams", "layers"])
def test_eight_bits_give_a_model_of_much_the_same_embeddings(tmp_path, head):
    clf = TextClassifier.fit(
        *map(list, zip(*EXAMPLES, strict=True)),
        base=write_base(tmp_path / "base"),
        head=head,
        none_label="other",
        reject_below=0.4,
    )
    clf.save(tmp_path / "a")
    words = ["export", "--adapter", str(tmp_path / "a"), "--format", "onnx", "--int8"]
    done = CliRunner().invoke(app, [*words, "--output", str(tmp_path / "onnx")])
    assert done.exit_code == 0, done.output
    found = run(tmp_path / "onnx", TEXTS, "model_int8.onnx")
    expected = narrowed(clf.adapter_.embed(TEXTS), found["embeddings"].shape[1])
    cosines = (found["embeddings"] * expected).sum(axis=1)
    assert cosines.min() > 0.9
    settings = json.loads((tmp_path / "onnx" / "labels.json").read_text())
    assert (settings["none_label"], settings["reject_below"]) == ("other", 0.4)
    assert not list((tmp_path / "onnx").glob("*.pkl")) + list(tmp_path.glob("*.bin"))


def test_the_code_of_the_model_card_runs(tmp_path, capsys):
    clf = TextClassifier.fit(
        *map(list, zip(*EXAMPLES, strict=True)),
        base=write_base(tmp_path / "base"),
        head="logistic",
    )
    folder = export_adapter(clf.adapter_, "onnx", tmp_path / "onnx")
    card = (folder / "README.md").read_text()
    (code,) = re.findall(r"```python\n(.*?)```", card, re.DOTALL)
    code = code.replace("FOLDER", str(folder)).replace("a text", TEXTS[0])
    exec(compile(code, "README.md", "exec"), {})  # noqa: S102 - that is the test
    assert capsys.readouterr().out.startswith("delivery ")
    assert "head.safetensors" not in card


def test_what_a_graph_cannot_hold_is_told(tmp_path):
    with pytest.raises(ConfigError, match="--format merged"):
        export_adapter(language_start(tmp_path), "onnx", tmp_path / "x")
    prompt = adapted(tmp_path, peft={"method": "prompt", "num_virtual_tokens": 2})
    with pytest.raises(ConfigError, match="cannot be merged"):
        export_adapter(prompt, "onnx", tmp_path / "x")
    with pytest.raises(ConfigError, match="int8 goes with the format onnx"):
        export_adapter(prompt, "peft", tmp_path / "x", int8=True)
    assert not (tmp_path / "x").exists()


@pytest.mark.data
@pytest.mark.parametrize("head", ["layers", "ngrams"])
def test_the_real_encoder_agrees_on_texts_of_every_length(tmp_path, minilm, head):
    clf = TextClassifier.fit(
        ["where is my parcel", "I want my money back"],
        ["a", "b"],
        base=minilm,
        head=head,
    )
    folder = export_adapter(clf.adapter_, "onnx", tmp_path / "onnx")
    texts = ["ok", "is it on its way?", "my card was declined " * 30, "¿dónde está?"]
    check(clf.adapter_, folder, texts, atol=1e-4)
