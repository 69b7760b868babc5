"""Every kind of head goes into every format, or one that is as good as can be does."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest
from safetensors.numpy import load_file
from typer.testing import CliRunner

from mlpeft.adapters.ngrams import ngrams
from mlpeft.adapters.text_classifier import TextClassifier
from mlpeft.cli import app
from mlpeft.errors import ConfigError
from mlpeft.exchange.export import export_adapter
from mlpeft.heads.linear import softmax
from tests.adapters.runs import write_base, write_run

HEADS = ["auto", "prototype", "ridge", "logistic", "mean", "ngrams", "layers"]
WIDE = ("ngrams", "layers")
BESIDE = ["peft", "merged", "sentence-transformers"]
"""Formats with the head in files of its own, which sees the last layer."""
EXAMPLES = [
    ("where is my parcel", "delivery"),
    ("my parcel is where", "delivery"),
    ("my parcel please", "delivery"),
    ("money back please", "refund"),
    ("my money", "refund"),
    ("please please money", "refund"),
    ("where is where", "chatter"),
    ("is is back", "chatter"),
    ("is where is", "chatter"),
]
TEXTS = ["where is my parcel", "mony back", "please back my parcel is", "xyz"]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return write_run(tmp_path_factory.mktemp("run"))


def fit(run, head="auto", **settings):
    texts, labels = map(list, zip(*EXAMPLES, strict=True))
    return TextClassifier.fit(texts, labels, start=run, head=head, **settings)


def export(clf, format_, folder):
    """The folder of an export, and what was told."""
    told = []
    return export_adapter(clf, format_, folder, tell=told.append), told


def of_files(folder, clf, texts):
    """Probabilities as the model card says to compute them from the head's files."""
    head = load_file(folder / "head.safetensors")
    scale = json.loads((folder / "labels.json").read_text())["scale"]
    embed = clf.adapter_.embed
    x = embed.features(texts)[:, : embed.last_dims]
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    return softmax(scale * x @ head["weight"].T + head["bias"])


def code_of_card(folder):
    """The Python of a model card, for these texts."""
    card = (folder / "README.md").read_text()
    code = card.split("```python\n")[1].split("```")[0]
    return code.replace("FOLDER", str(folder)).replace(
        '["a text", "another text"]', repr(TEXTS)
    )


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("format_", BESIDE)
def test_a_head_beside_an_encoder_answers_as_the_classifier_does(
    tmp_path, run, head, format_
):
    clf = fit(run, head)
    folder, told = export(clf, format_, tmp_path / "out")
    found = of_files(folder, clf, TEXTS)
    if clf.head_ not in WIDE:
        assert not told
        np.testing.assert_allclose(found, clf.predict_proba(TEXTS), atol=1e-5)
        return
    seen = "n-grams" if clf.head_ == "ngrams" else "several layers"
    (sentence,) = told
    assert seen in sentence
    assert "% of held-out examples" in sentence
    card = (folder / "README.md").read_text()
    assert sentence.rstrip(".").lower() in card.lower()
    texts, labels = zip(*EXAMPLES, strict=True)
    answers = clf.classes_[of_files(folder, clf, texts).argmax(axis=1)]
    assert np.mean(answers == labels) > 0.8


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("base", ["a run", "a projection", "none"])
def test_a_graph_answers_as_the_classifier_does(tmp_path, run, head, base):
    pytest.importorskip("onnx", reason="needs the extra onnx")
    pytest.importorskip("onnxruntime", reason="needs the extra onnx")
    if base == "a projection":
        run = write_run(tmp_path, model={"projected": True})
    options = {"base": write_base(tmp_path / "base")} if base == "none" else {}
    clf = fit("none" if base == "none" else run, head, **options)
    folder, told = export(clf, "onnx", tmp_path / "out")
    assert not told
    used: dict[str, object] = {}
    exec(compile(code_of_card(folder), "README.md", "exec"), used)  # noqa: S102
    expected = clf.predict_proba(TEXTS)
    np.testing.assert_allclose(used["probabilities"], expected, atol=1e-5)
    assert (folder / "ngrams.py").exists() == (clf.head_ == "ngrams")


def test_ngrams_are_computed_by_a_file_that_needs_numpy_alone(tmp_path, run):
    pytest.importorskip("onnx", reason="needs the extra onnx")
    folder, _ = export(fit(run, "ngrams"), "onnx", tmp_path / "out")
    code = f"import sys; sys.path.insert(0, {str(folder)!r}); import ngrams, numpy\n"
    code += f"numpy.save({str(tmp_path / 'found.npy')!r}, ngrams.ngrams({TEXTS!r}))\n"
    code += "assert not any(name.startswith(('mlpeft', 'mlx')) for name in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60, cwd="/")
    np.testing.assert_array_equal(np.load(tmp_path / "found.npy"), ngrams(TEXTS))


@pytest.mark.parametrize("head", HEADS)
def test_mlx_lm_holds_no_classifier_whatever_its_head(tmp_path, run, head):
    with pytest.raises(ConfigError, match="language models only"):
        export_adapter(fit(run, head), "mlx-lm", tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("head", WIDE)
def test_none_of_these_stays_a_label_of_the_head_that_takes_the_place(
    tmp_path, run, head
):
    clf = fit(run, head, reject_below="auto", none_label="other")
    folder, _ = export(clf, "merged", tmp_path / "out")
    assert json.loads((folder / "labels.json").read_text())["labels"][-1] == "other"
    assert of_files(folder, clf, TEXTS).shape[1] == len(clf.classes_) == 4


@pytest.mark.parametrize("head", WIDE)
def test_without_examples_a_format_that_cannot_hold_the_head_is_refused(
    tmp_path, run, head
):
    clf = fit(run, head)
    with pytest.raises(ConfigError, match=r"--format onnx, .* --head logistic"):
        export_adapter(clf.adapter_, "peft", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_command_says_what_the_other_head_costs(tmp_path, run):
    fit(run, "ngrams").save(tmp_path / "a")
    words = ["export", "--adapter", str(tmp_path / "a"), "--format", "merged"]
    done = CliRunner().invoke(app, [*words, "--output", str(tmp_path / "out")])
    assert done.exit_code == 0, done.output
    assert done.output.startswith("In place of the head ngrams, ")
    assert "fitted to the same 9 examples; " in done.output


def test_too_few_examples_tell_nothing_of_the_cost(tmp_path, run):
    texts, labels = ["my parcel", "money back"], ["delivery", "refund"]
    clf = TextClassifier.fit(texts, labels, start=run, head="ngrams", label_names=False)
    with pytest.warns(UserWarning, match="too few to tell what that costs"):
        export_adapter(clf, "merged", tmp_path / "out")


def test_a_head_on_a_base_as_it_was_is_no_adapter_for_peft(tmp_path):
    clf = fit("none", "logistic", base=write_base(tmp_path / "base"))
    with pytest.raises(ConfigError, match=r"only a head was fitted .* --format merged"):
        export_adapter(clf, "peft", tmp_path / "out")
