"""The user's own intents: the splits of their labels, and omissions."""

from __future__ import annotations

import gzip
import json
import logging

import pytest

from mlpeft.config import RunConfig
from mlpeft.errors import ConfigError, DataError
from mlpeft.tasks.build import build_tasks
from mlpeft.tasks.families import FAMILIES
from mlpeft.tasks.families.intents.classes import read_classes
from mlpeft.tasks.families.intents.source import source_of
from tests.models.pretrained import tiny

PARAMS = {"dataset": "my.jsonl", "tokenizer": "."}
LABELS = [f"queue_{number}" for number in range(10)]
ROWS = [(f"red {'a ' * count}", label) for label in LABELS for count in range(1, 5)]


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """The working folder: paths are relative to it."""
    monkeypatch.chdir(tmp_path)
    return tiny.write_tokenizer(tmp_path, "red", "a")


def write(name="my.jsonl", rows=ROWS, keys=("text", "label")):
    """A file of rows, of the form that its name says."""
    if ".csv" in name:
        lines = [",".join(keys), *(",".join(row) for row in rows)]
    else:
        lines = [json.dumps(dict(zip(keys, row, strict=True))) for row in rows]
    content = "\n".join(lines).encode()
    with open(name, "wb") as file:  # noqa: PTH123 - relative on purpose
        file.write(gzip.compress(content) if name.endswith(".gz") else content)


def write_splits(**parts):
    """splits.json with one class split, 07, of three labels each; `parts` change it."""
    split = {"train": LABELS[:3], "valid": LABELS[3:6], "test": LABELS[6:9]}
    with open("splits.json", "w") as file:  # noqa: PTH123
        json.dump({"splits": {"07": split | parts}}, file)


def config(**params):
    """A run of 2-way 1-shot episodes with two queries per class."""
    section = {
        "task_families": ["intents"],
        "num_classes": 2,
        "k_shot": 1,
        "query_size": 4,
        "input_dim": 16,
        "task_params": {"dataset": "my.jsonl", "tokenizer": "."} | params,
    }
    return RunConfig.from_dict({"task_distribution": section})


def labels(**params):
    """The labels of each split."""
    params = {"dataset": "my.jsonl"} | params
    return {
        split: list(texts)
        for split, texts in read_classes(source_of(params)).splits.items()
    }


@pytest.mark.parametrize("name", ["my.jsonl", "my.jsonl.gz", "my.csv", "my.csv.gz"])
def test_every_form_of_file_gives_the_same_episodes(name):
    write()
    expected = build_tasks(config()).train.episode("train/intents/0", 3)
    write(name, [(text.strip(), label) for text, label in ROWS])
    episode = build_tasks(config(dataset=name)).train.episode("train/intents/0", 3)
    pairs = zip(expected, episode, strict=True)
    assert all((left == right).all() for left, right in pairs)


def test_other_keys_may_hold_text_and_label():
    write(keys=("message", "queue"))
    with pytest.raises(DataError, match="it has message, queue; name them"):
        build_tasks(config())
    build_tasks(config(text_key="message", label_key="queue"))


def test_labels_are_assigned_three_to_one_to_one_to_disjoint_splits():
    write()
    splits = labels()
    assert [len(names) for names in splits.values()] == [6, 2, 2]
    assert sorted(label for names in splits.values() for label in names) == LABELS


def test_each_class_split_is_another_assignment_and_always_the_same():
    write()
    deals = [labels(class_split=name) for name in ("01", "02", 2)]
    assert deals[0] == labels()
    assert deals[1] == deals[2]
    assert deals[0] != deals[1]
    # Papers state the name of a deal: the next version must deal the same.
    assert deals[0]["test"] == ["queue_1", "queue_9"]


def test_the_shares_can_be_set():
    write()
    splits = labels(split_shares=[1, 2, 2])
    assert [len(names) for names in splits.values()] == [2, 4, 4]


def test_a_file_may_assign_the_labels():
    write()
    write_splits()
    splits = labels(class_splits="splits.json", class_split="07")
    assert splits == {"train": LABELS[:3], "val": LABELS[3:6], "test": LABELS[6:9]}


def test_a_file_may_assign_the_labels_of_clinc150(tmp_path, monkeypatch):
    monkeypatch.delenv("MLPEFT_DATA_DIR", raising=False)
    (tmp_path / "intents").mkdir()
    write("intents/clinc150.jsonl.gz")
    (tmp_path / "intents" / "clinc150_splits.json").write_text("{}")
    write_splits()
    params = {"class_splits": "splits.json", "class_split": "07"}
    splits = read_classes(source_of(params, tmp_path)).splits
    assert list(splits["val"]) == LABELS[3:6]


def test_labels_with_few_texts_are_an_error_that_min_examples_mends():
    few = [("red", "rare"), ("a", "rarer"), ("red a", "rarer"), ("red", "rarest")]
    write(rows=[*ROWS, *few])
    with pytest.raises(ConfigError, match=r"1 \+ 2 examples") as caught:
        build_tasks(config())
    assert "'rare' has 1" in str(caught.value)
    assert "'rarer' has 2" in str(caught.value)
    assert "leave such labels out with task_params.min_examples: 3" in str(caught.value)
    build_tasks(config(min_examples=3))
    lists = labels(min_examples=3).values()
    assert sorted(label for names in lists for label in names) == LABELS


def test_too_few_labels_for_a_split_are_an_error_that_says_what_to_change():
    write(rows=ROWS[:24])
    with pytest.raises(ConfigError, match=r"are 1 intents.*split_shares") as caught:
        build_tasks(config())
    assert "intents, val" in str(caught.value)
    write("two.jsonl", ROWS[:8])
    with pytest.raises(ConfigError, match="there are 0 intents"):
        build_tasks(config(dataset="two.jsonl"))


def test_copies_within_a_label_are_left_out_and_counted(caplog):
    """Otherwise a query could be in its support set."""
    write(rows=[*ROWS, ("RED  a", "queue_0"), ("red a", "queue_1"), ("new", "queue_2")])
    with caplog.at_level(logging.INFO, "mlpeft.tasks"):
        classes = read_classes(source_of({"dataset": "my.jsonl"}))
    texts = {
        label: texts
        for part in classes.splits.values()
        for label, texts in part.items()
    }
    assert [len(texts[label]) for label in LABELS[:3]] == [4, 4, 5]
    assert "41 texts of 10 labels" in caplog.text
    assert "copies of texts left out: 2" in caplog.text


def test_a_file_that_is_edited_in_its_place_is_read_again():
    write()
    build_tasks(config())
    assert "40 texts of 10 labels" in FAMILIES["intents"].describe(PARAMS, None)
    write(rows=[*ROWS, ("a red a", "queue_0")])
    build_tasks(config())
    assert "41 texts of 10 labels" in FAMILIES["intents"].describe(PARAMS, None)


def test_texts_with_several_labels_stay_and_are_counted():
    write(rows=[("same", "queue_0"), ("Same", "queue_1"), ("red", "queue_1")])
    classes = read_classes(source_of({"dataset": "my.jsonl"}))
    assert "3 texts of 2 labels" in classes.about
    assert "texts with several labels: 1, such as 'same'" in classes.about


def test_omitted_labels_are_counted_by_reason():
    write(rows=[*ROWS, ("red", "rare")])
    write_splits(test=["rare", "queue_9"])
    params = {"class_splits": "splits.json", "class_split": "07", "min_examples": 2}
    about = FAMILIES["intents"].describe({"dataset": "my.jsonl"} | params, None)
    assert "3 / 3 / 1 labels for train, val and test (class split 07" in about
    assert (
        "labels left out: 1 (fewer than 2 texts), 3 (not in the class split)" in about
    )


def test_digests_are_those_of_the_files_that_are_read():
    write()
    write_splits()
    params = {"class_splits": "splits.json", "class_split": "07"}
    before = build_tasks(config(**params)).digests()
    assert set(before) == {"dataset", "class_splits", "tokenizer.json"}
    write("other.jsonl", [*ROWS, ("new", "queue_0")])
    after = build_tasks(config(dataset="other.jsonl", **params)).digests()
    assert {name for name in before if before[name] != after[name]} == {"dataset"}


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"dataset": "my.txt"}, r"your own file is a \.jsonl, \.json, \.csv or \.tsv"),
        ({"dataset": "banking7"}, "did you mean 'banking77'"),
        ({"min_examples": 0}, "min_examples: expected an integer of at least 1"),
        ({"split_shares": [1, 1]}, "split_shares: expected three numbers above 0"),
        ({"split_shares": [1, 1, 0]}, "split_shares: expected three numbers above 0"),
        ({"split_shares": 0.6}, "split_shares: expected three numbers above 0"),
        ({"text_key": 3}, "text_key: expected a string"),
        ({"class_split": []}, "class_split: expected a string"),
        ({"dataset": "clinc150", "split_shares": [1, 1, 1]}, "has class splits"),
        ({"dataset": "clinc150", "label_key": "x"}, "applies to your own data"),
        (
            {"hub_split": "train"},
            r"hub_split: applies to data on the hub, not to my",
        ),
        ({"dataset": "hf:"}, r"dataset: 'hf:' names no data set"),
        (
            {"class_splits": "splits.json", "split_shares": [1, 1, 1]},
            "remove one of the two",
        ),
    ],
)
def test_invalid_settings_are_errors(params, message):
    write()
    with pytest.raises(ConfigError, match=message):
        build_tasks(config(**params))


@pytest.mark.parametrize(
    ("parts", "name", "message"),
    [
        ({"test": ["queue_0"]}, "07", "'queue_0' is in train and in test"),
        ({"test": ["queue_11"]}, "07", "1 labels that no text of .*: 'queue_11'; did"),
        ({"test": ["x"]}, "07", "'x'; the texts have queue_0, .* and 5 more"),
        ({}, "08", "has no class split '08'; did you mean '07'"),
        ({"valid": 3}, "07", "cannot be read as class splits"),
    ],
)
def test_class_splits_without_texts_are_errors(parts, name, message):
    write()
    write_splits(**parts)
    with pytest.raises(DataError, match=message):
        labels(class_splits="splits.json", class_split=name)


def test_missing_files_are_named_by_their_paths(folder):
    with pytest.raises(DataError, match=f"no file at {folder}/gone.csv"):
        build_tasks(config(dataset="gone.csv"))
    write()
    with pytest.raises(DataError, match=f"no file at {folder}/gone.json"):
        build_tasks(config(class_splits="gone.json"))
