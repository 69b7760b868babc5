"""From a few labelled texts to a classifier, as people call it."""

from __future__ import annotations

import json

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import mlpeft
from mlpeft.adapters.text_classifier import NONE_OF_THESE, TextClassifier
from mlpeft.errors import ConfigError, DataError
from tests.adapters.runs import EXAMPLES, write_base, write_run

TEXTS = [text for text, _ in EXAMPLES] * 2
LABELS = [label for _, label in EXAMPLES] * 2


@pytest.fixture
def base(tmp_path):
    return write_base(tmp_path / "base")


@pytest.fixture
def fitted(base):
    return TextClassifier.fit(TEXTS, LABELS, base=base)


def test_texts_are_learned_by_class_and_by_instance(base, fitted):
    assert list(fitted.classes_) == ["delivery", "refund"]
    assert list(fitted.predict(TEXTS)) == LABELS
    other = TextClassifier(base=base).fit(TEXTS, LABELS)
    np.testing.assert_array_equal(
        other.predict_proba(TEXTS), fitted.predict_proba(TEXTS)
    )
    assert fitted.predict_proba(TEXTS).sum(axis=1) == pytest.approx(1.0)
    assert fitted.score(TEXTS, LABELS) == 1.0
    assert mlpeft.TextClassifier is TextClassifier


def test_a_run_is_a_start(tmp_path):
    run = write_run(tmp_path)
    clf = TextClassifier.fit(TEXTS, LABELS, start=run)
    assert any("lora" in name for name in clf.adapter_.leaves)
    assert list(clf.predict(TEXTS)) == LABELS


def test_a_file_a_table_and_lists_say_the_same(base, fitted, tmp_path):
    pandas = pytest.importorskip("pandas")
    table = pandas.DataFrame({"text": TEXTS, "label": LABELS})
    table.to_csv(tmp_path / "t.csv", index=False)
    lines = [
        json.dumps({"text": t, "label": label})
        for t, label in zip(TEXTS, LABELS, strict=True)
    ]
    (tmp_path / "t.jsonl").write_text("\n".join(lines))
    expected = fitted.predict_proba(TEXTS)
    for given in (table, tmp_path / "t.csv", str(tmp_path / "t.jsonl")):
        clf = TextClassifier.fit(given, base=base)
        np.testing.assert_array_equal(clf.predict_proba(given), expected)


def test_it_is_saved_and_predicts_the_same(fitted, tmp_path):
    loaded = TextClassifier.load(fitted.save(tmp_path / "adapter"))
    np.testing.assert_allclose(
        loaded.predict_proba(TEXTS), fitted.predict_proba(TEXTS), atol=1e-6
    )
    adapter = mlpeft.load_adapter(tmp_path / "adapter")
    assert [one.label for one in adapter.predict(TEXTS)] == LABELS
    card = (tmp_path / "adapter" / "README.md").read_text()
    assert "Confidences are calibrated" in card
    assert "on a frozen base" in card
    again = loaded.save(tmp_path / "again")
    assert TextClassifier.load(again).get_params() == loaded.get_params()


def test_more_examples_and_a_new_label_are_added(base, fitted, tmp_path):
    loaded = TextClassifier.load(fitted.save(tmp_path / "adapter"))
    loaded.add_examples(["is is is", "is is"], ["chatter", "chatter"])
    assert list(loaded.classes_) == ["chatter", "delivery", "refund"]
    together = TextClassifier.fit(
        [*TEXTS, "is is is", "is is"], [*LABELS, "chatter", "chatter"], base=base
    )
    asked = [*TEXTS, "is is"]
    np.testing.assert_allclose(
        loaded.predict_proba(asked), together.predict_proba(asked), atol=2e-2
    )


@pytest.mark.parametrize("head", ["layers", "ngrams"])
def test_a_head_on_more_than_the_last_layer_is_saved_and_learns_more(
    base, tmp_path, head
):
    clf = TextClassifier.fit(TEXTS, LABELS, base=base, head=head)
    expected = clf.predict_proba(TEXTS)
    seen = clf.adapter_.embed(TEXTS)
    columns = clf.adapter_.leaves["head.weight"].shape[1]
    assert seen.shape[1] == columns > clf.examples_.last_dims
    assert (columns > clf.examples_.layers_dims) == (head == "ngrams")
    loaded = TextClassifier.load(clf.save(tmp_path / "adapter"))
    np.testing.assert_allclose(loaded.predict_proba(TEXTS), expected, atol=1e-6)
    loaded.add_examples(["is is is", "is is"], ["chatter", "chatter"])
    assert list(loaded.predict(["is is", *TEXTS])) == ["chatter", *LABELS]


def test_a_folder_of_an_earlier_version_learns_more_from_the_last_layer(base, tmp_path):
    """Its examples were embedded by the last layer alone, and say nothing of others."""
    clf = TextClassifier.fit(TEXTS, LABELS, base=base, head="logistic")
    file = clf.save(tmp_path / "adapter") / "examples.safetensors"
    arrays = load_file(file)
    dims = int(arrays.pop("last_dims")[0])
    del arrays["layers_dims"]
    arrays["x"] = np.ascontiguousarray(clf.examples_.narrowed(dims).x)
    save_file(arrays, file)
    loaded = TextClassifier.load(tmp_path / "adapter").set_params(head="auto")
    loaded.add_examples(["is is is", "is is"], ["chatter", "chatter"])
    assert list(loaded.predict(["is is", *TEXTS])) == ["chatter", *LABELS]
    assert loaded.head_ not in ("layers", "ngrams")


def test_a_label_without_examples_has_its_words(base):
    described = {"refund": "money back please", "delivery": ""}
    clf = TextClassifier.fit([], [], base=base, label_descriptions=described)
    assert clf.predict(["money back please"]) == ["refund"]
    with pytest.raises(DataError, match=r"'17' has no examples and no words"):
        TextClassifier.fit(TEXTS, LABELS, base=base, label_descriptions={"17": ""})


def test_a_text_may_have_several_labels(base, tmp_path):
    labels = [[label] for label in LABELS]
    labels[0] = ["delivery", "urgent"]
    labels[2] = ["delivery", "urgent"]
    clf = TextClassifier.fit(TEXTS, labels, base=base)
    assert list(clf.classes_) == ["delivery", "refund", "urgent"]
    assert "delivery" in clf.predict(TEXTS)[0]
    loaded = TextClassifier.load(clf.save(tmp_path / "adapter"))
    np.testing.assert_allclose(
        loaded.predict_proba(TEXTS), clf.predict_proba(TEXTS), atol=1e-6
    )


def test_below_the_threshold_is_none_of_these(base):
    clf = TextClassifier.fit(TEXTS, LABELS, base=base, reject_below=1)
    assert set(clf.predict(TEXTS)) == {NONE_OF_THESE}
    result = clf.evaluate(["my", *TEXTS], ["else", *LABELS])
    assert result["out_of_scope_recall"] == 1.0
    assert result["in_scope_accuracy"] == 1.0
    assert result["accuracy"] == pytest.approx(1 / 9)


def test_none_of_these_is_one_more_label_where_examples_end(base, tmp_path):
    """Three labels, of which each is left out in turn; then a fourth is added."""
    texts = [*TEXTS, "please please", "please please please"]
    labels = [*LABELS, "plea", "plea"]
    clf = TextClassifier(base=base, reject_below="auto", none_label="other")
    clf.fit(texts, labels)
    assert list(clf.classes_) == ["delivery", "plea", "refund", "other"]
    shares = clf.predict_proba(texts)
    np.testing.assert_allclose(shares.sum(axis=1), 1.0, atol=1e-5)
    loaded = TextClassifier.load(clf.save(tmp_path / "adapter"))
    assert loaded.adapter_.none_label == "other"
    assert list(loaded.predict(texts)) == list(clf.predict(texts))
    result = loaded.evaluate(["is is is", *texts], ["else", *labels], resamples=0)
    assert result["out_of_scope_texts"] == 1
    loaded.add_examples(["is is", "is is is"], ["more", "more"])
    assert set(loaded.classes_) - {"other"} == {"delivery", "plea", "refund", "more"}


def test_unlabelled_texts_are_used_or_left(base):
    clf = TextClassifier(base=base).fit(TEXTS, LABELS, unlabelled=["my money please"])
    assert clf.adapter_.history["unlabelled"] == 1
    assert list(clf.predict(TEXTS)) == LABELS


def test_scikit_learn_takes_it_for_a_classifier(base):
    pytest.importorskip("sklearn")
    from sklearn.base import clone
    from sklearn.model_selection import cross_val_score
    from sklearn.pipeline import Pipeline

    clf = TextClassifier(base=base, head="ridge")
    assert clone(clf).get_params() == clf.get_params()
    scores = cross_val_score(clf, TEXTS * 2, LABELS * 2, cv=2)
    assert list(scores) == [1.0, 1.0]
    pipeline = Pipeline([("classify", clf)]).fit(TEXTS, LABELS)
    assert list(pipeline.predict(TEXTS)) == LABELS


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"head": "ridgee"}, "did you mean 'ridge'"),
        ({"class_weight": "even"}, "expected 'balanced'"),
        ({"reject_below": 7}, "a number from 0 to 1"),
        ({"start": "intentz"}, "there is no start 'intentz'"),
    ],
)
def test_a_wrong_setting_is_told(base, settings, told):
    with pytest.raises(ConfigError, match=told):
        TextClassifier(**{"base": base, **settings}).fit(TEXTS, LABELS)


@pytest.mark.parametrize(
    ("texts", "labels", "told"),
    [
        ("no such file.csv", None, "no labels"),
        (TEXTS, LABELS[:-1], "8 texts, but 7 labels"),
        ([1.5], ["a"], "text 1 is 1.5"),
        (TEXTS, ["a"] * 8, "at least two labels"),
        (TEXTS, [""] * 8, "label 1 is empty"),
    ],
)
def test_wrong_examples_are_told(base, texts, labels, told):
    with pytest.raises(DataError, match=told):
        TextClassifier.fit(texts, labels, base=base)


def test_what_is_not_fitted_says_so():
    for call in (lambda c: c.predict(["x"]), lambda c: c.save("x")):
        with pytest.raises(DataError, match="not fitted"):
            call(TextClassifier())


def test_inner_steps_change_the_encoder_and_are_kept(base, tmp_path):
    """Two steps of LoRA; more examples are then embedded by the encoder they made."""
    clf = TextClassifier(base=base, inner_steps=2).fit(TEXTS, LABELS)
    assert clf.adapter_.history["steps"] == 2
    assert any("lora" in name for name in clf.adapter_.leaves)
    frozen = TextClassifier(base=base).fit(TEXTS, LABELS)
    assert not np.allclose(clf.examples_.x, frozen.examples_.x, atol=1e-6)
    loaded = TextClassifier.load(clf.save(tmp_path / "adapter"))
    np.testing.assert_allclose(
        loaded.predict_proba(TEXTS), clf.predict_proba(TEXTS), atol=1e-5
    )
    loaded.add_examples(["where is my"], ["delivery"])
    np.testing.assert_allclose(loaded.examples_.x[:8], clf.examples_.x[:8], atol=1e-6)


def test_inner_steps_are_left_out_where_they_do_not_pay(base, monkeypatch):
    clf = TextClassifier(base=base, inner_steps="auto").fit(TEXTS, LABELS)
    assert "held-out loss" in clf.adapter_.history["tuning"]
    assert list(clf.predict(TEXTS)) == LABELS
    one = TextClassifier(base=base, inner_steps="auto", label_names=False)
    one.fit(TEXTS[:2], LABELS[:2])
    assert (one.adapter_.history["steps"], one.adapter_.history["tuning"]) == (
        0,
        "too few examples to hold any out",
    )
    monkeypatch.setattr("mlpeft.adapters.tuning.LIMIT_S", 0.0)
    slow = TextClassifier(base=base, inner_steps="auto").fit(TEXTS, LABELS)
    assert slow.adapter_.history["steps"] == 0
    assert "would take" in slow.adapter_.history["tuning"]


def test_a_file_in_the_place_of_the_folder_is_told_and_kept(tmp_path):
    texts, labels = map(list, zip(*EXAMPLES, strict=True))
    clf = TextClassifier.fit(texts, labels, start=write_run(tmp_path))
    (tmp_path / "data.csv").write_text("text,label")
    with pytest.raises(DataError, match=r"data\.csv is a file; give a folder"):
        clf.save(tmp_path / "data.csv")
    assert (tmp_path / "data.csv").read_text() == "text,label"
