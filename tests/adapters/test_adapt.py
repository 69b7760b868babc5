"""A start adapts to a user's examples as it does to an episode, and is kept."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest

import mlpeft
from mlpeft.adapters.adapt import adapt
from mlpeft.adapters.card import model_card
from mlpeft.adapters.store import load_adapter
from mlpeft.errors import ConfigError, DataError
from mlpeft.meta.engine import Engine
from mlpeft.meta.inner import InnerLoop
from mlpeft.models.losses import cross_entropy_loss
from mlpeft.seeds import Purpose, generator
from mlpeft.tasks.episode import Episode
from mlpeft.training.trained import load_trained
from tests.adapters.runs import EXAMPLES, write_run

TEXTS = [text for text, _ in EXAMPLES]


def test_the_examples_are_learned(run_dir):
    adapter = adapt(run_dir, EXAMPLES, steps=20)
    assert adapter.labels == ("delivery", "refund")
    found = adapter.predict(TEXTS)
    assert [one.label for one in found] == [label for _, label in EXAMPLES]
    assert adapter.history["loss_after"] < adapter.history["loss_before"]
    for one in found:
        assert one.confidence == max(one.scores.values())
        assert sum(one.scores.values()) == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("inner", "dropout"),
    [({}, 0.0), ({"inner_optimizer": "adam"}, 0.0), ({"inner_batch_size": 2}, 0.5)],
)
def test_adapt_ends_where_evaluation_does(make_run, inner, dropout):
    """The loss of queries, by Engine and by the adapter's confidences, is the same."""
    peft = {"method": "lora", "rank": 2, "dropout": dropout}
    run_dir = make_run(meta_learning=inner, peft=peft)
    adapter = adapt(run_dir, EXAMPLES)
    queries, labels = ["parcel where", "please money"], np.array([0, 1], np.int32)
    episode = Episode(
        adapter.tokenizer(TEXTS),
        np.array([0, 1, 0, 1], np.int32),
        adapter.tokenizer(queries),
        labels,
    )
    loop = InnerLoop.from_config(adapter.config.meta_learning)
    adapter.model.train()
    engine = Engine(adapter.model, cross_entropy_loss, loop, "loop")
    adapter.model.eval()

    def rng(index: int) -> np.random.Generator:
        return generator(adapter.config.run.seed, Purpose.BATCH)

    meta = load_trained(run_dir).meta
    expected = engine.evaluate(meta, [episode], rng, [4]).loss[0, 0]
    shares = [
        one.scores[adapter.labels[label]]
        for one, label in zip(adapter.predict(queries), labels, strict=True)
    ]
    assert -np.log(shares).mean() == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize(
    "inner", [{"inner_optimizer": "adam"}, {"inner_batch_size": 2}]
)
def test_the_runs_inner_loop_is_taken(make_run, inner):
    run_dir = make_run(meta_learning=inner)
    history = adapt(run_dir, EXAMPLES).history
    assert history["steps"] == 4
    assert history["loss_after"] < history["loss_before"]


def test_any_number_of_labels_can_be_learned(run_dir):
    adapter = adapt(run_dir, [*EXAMPLES, ("is is is", "nonsense")], steps=30)
    assert adapter.labels == ("delivery", "refund", "nonsense")
    assert adapter.predict(["is is is"])[0].label == "nonsense"


def test_zero_steps_classify_by_the_nearest_example(run_dir):
    adapter = adapt(run_dir, EXAMPLES[:2], steps=0)
    assert [one.label for one in adapter.predict(TEXTS[:2])] == ["delivery", "refund"]


def test_zero_steps_need_no_inner_batches(make_run):
    """A batch smaller than the support set: there is nothing to cut into batches."""
    run_dir = make_run(meta_learning={"inner_batch_size": 2})
    assert adapt(run_dir, EXAMPLES, steps=0).predict(TEXTS)


def test_the_names_of_labels_can_be_examples_too(run_dir):
    """A name that is an example's words doubles that example, so nothing changes."""
    pairs = [("where is my", "where_is_my"), ("money back", "MoneyBack")]
    named = adapt(run_dir, pairs, steps=3, label_names=True)
    twice = adapt(run_dir, [*pairs, *pairs], steps=3)
    assert named.predict(TEXTS) == twice.predict(TEXTS)
    assert named.history["examples"] == 2
    assert "2 examples of 2 labels, and the labels' names" in model_card(named)


def test_a_run_whose_tasks_have_names_adapts_with_them(make_run):
    tasks = {"task_params": {"label_names": True}}
    run_dir = make_run(task_distribution=tasks)
    assert adapt(run_dir, EXAMPLES).history["label_names"]
    assert not adapt(run_dir, EXAMPLES, label_names=False).history["label_names"]


def test_a_label_whose_name_says_nothing_is_told(run_dir):
    pairs = [("where is my", "a"), ("money back", "2")]
    with pytest.raises(DataError, match=r"'2' has no letters.*--no-label-names"):
        adapt(run_dir, pairs, label_names=True)


def test_whoever_may_read_the_folder_may_read_its_numbers(run_dir, tmp_path):
    adapt(run_dir, EXAMPLES, output=tmp_path / "adapter")
    modes = {file.stat().st_mode for file in (tmp_path / "adapter").iterdir()}
    assert len(modes) == 1


def test_a_file_of_examples_is_as_good_as_pairs(run_dir, tmp_path):
    lines, table = tmp_path / "s.jsonl", tmp_path / "s.csv"
    lines.write_text(
        "\n".join(json.dumps({"text": t, "label": label}) for t, label in EXAMPLES)
    )
    with table.open("w", newline="") as file:
        csv.writer(file).writerows([("text", "label"), *EXAMPLES])
    pairs = adapt(run_dir, EXAMPLES).leaves
    for file in (lines, table):
        leaves = adapt(run_dir, file).leaves
        assert {k: v.tobytes() for k, v in leaves.items()} == {
            k: v.tobytes() for k, v in pairs.items()
        }


def test_a_file_may_have_the_keys_of_the_runs_tasks(tmp_path):
    params = {"text_key": "message", "label_key": "queue"}
    run = write_run(tmp_path, task_distribution={"task_params": params})
    file = tmp_path / "s.csv"
    for header in (params.values(), ("text", "label")):
        with file.open("w", newline="") as table:
            csv.writer(table, delimiter=";").writerows([header, *EXAMPLES])
        assert adapt(run, file).labels == ("delivery", "refund")


def test_a_saved_adapter_predicts_the_same(run_dir, tmp_path):
    adapter = mlpeft.adapt(run_dir, EXAMPLES, tmp_path / "adapter")
    loaded = mlpeft.load_adapter(tmp_path / "adapter")
    assert loaded.predict(TEXTS) == adapter.predict(TEXTS)


def test_more_texts_than_a_batch_keep_their_order(run_dir):
    adapter = adapt(run_dir, EXAMPLES, steps=20)
    labels = [one.label for one in adapter.predict(TEXTS * 20)]
    assert labels == [label for _, label in EXAMPLES] * 20


def test_no_texts_have_no_predictions(run_dir):
    assert adapt(run_dir, EXAMPLES, steps=0).predict([]) == []


def test_a_base_that_was_exchanged_is_noticed(run_dir, tmp_path):
    adapt(run_dir, EXAMPLES, tmp_path / "adapter", steps=0)
    weights = tmp_path / "base" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x01")
    with pytest.raises(DataError, match="adapted from other weights"):
        load_adapter(tmp_path / "adapter")


def test_a_base_that_moved_can_be_named(run_dir, tmp_path):
    adapt(run_dir, EXAMPLES, tmp_path / "adapter", steps=0)
    (tmp_path / "base").rename(tmp_path / "elsewhere")
    with pytest.raises(DataError, match="no pretrained model"):
        load_adapter(tmp_path / "adapter")
    moved = str(tmp_path / "elsewhere")
    assert load_adapter(tmp_path / "adapter", moved).predict(["my"])


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("{", "cannot be read"),
        ('{"format": 9}', "format 9"),
        ('{"format": 1}', "lacks"),
    ],
)
def test_a_damaged_record_is_told(run_dir, tmp_path, text, told):
    adapt(run_dir, EXAMPLES, tmp_path / "adapter", steps=0)
    (tmp_path / "adapter" / "adapter.json").write_text(text)
    with pytest.raises(DataError, match=told):
        load_adapter(tmp_path / "adapter")


def test_a_folder_without_an_adapter_is_told(tmp_path):
    with pytest.raises(FileNotFoundError, match="no adapter in"):
        load_adapter(tmp_path)


def test_one_label_cannot_be_told_apart(run_dir):
    with pytest.raises(DataError, match="at least two labels"):
        adapt(run_dir, EXAMPLES[:1])


def test_a_learned_head_has_its_number_of_labels(make_run):
    run_dir = make_run(model={"head": "learned"})
    assert adapt(run_dir, EXAMPLES, steps=1).labels == ("delivery", "refund")
    with pytest.raises(ConfigError, match="has 2 labels, the examples have 3"):
        adapt(run_dir, [*EXAMPLES, ("is", "third")])


def test_a_run_that_reads_no_text_is_told(run_dir):
    with pytest.raises(ConfigError, match="got 'linear'"):
        adapt(run_dir, EXAMPLES, overrides=["model.backbone=linear"])
