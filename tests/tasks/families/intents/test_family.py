"""Episodes of labelled text."""

from __future__ import annotations

import gzip
import json
from dataclasses import replace

import numpy as np
import pytest

from mlpeft.config import RunConfig
from mlpeft.datasets.intents import read_utterances
from mlpeft.errors import ConfigError, DataError
from mlpeft.models.pretrained.source import model_file
from mlpeft.models.pretrained.tokenizers import TOKENIZER, Tokeniser
from mlpeft.tasks.build import build_tasks
from mlpeft.tasks.episode import TaskConfig
from mlpeft.tasks.families import get_family
from mlpeft.tasks.families.intents.family import Intents
from mlpeft.tasks.families.intents.tokens import label_text
from tests.models.pretrained import tiny

WORDS = {"[PAD]": 0, "[UNK]": 1, "red": 2, "green": 3, "blue": 4, "a": 5}
LABELS = [f"intent_{number}" for number in range(9)]


@pytest.fixture
def family(tmp_path, monkeypatch) -> Intents:
    """Nine intents of eight utterances; all texts of an intent begin alike."""
    tiny.write_tokenizer(tmp_path, *list(WORDS)[2:])
    monkeypatch.delenv("MLPEFT_DATA_DIR", raising=False)
    folder = tmp_path / "intents"
    folder.mkdir()
    colours = list(WORDS)[2:5]
    rows = [
        {
            "text": f"{colours[number // 3]} {colours[number % 3]} {'a ' * length}",
            "label": label,
        }
        for number, label in enumerate(LABELS)
        for length in range(1, 9)
    ]
    lines = "\n".join(json.dumps(row) for row in rows)
    (folder / "clinc150.jsonl.gz").write_bytes(gzip.compress(lines.encode()))
    split = {"train": LABELS[:3], "valid": LABELS[3:6], "test": LABELS[6:]}
    text = json.dumps({"splits": {"01": split, "02": split}})
    (folder / "clinc150_splits.json").write_text(text)
    return Intents(tmp_path)


def task(tmp_path, task_id="t", **changes) -> TaskConfig:
    params = {"tokenizer": str(tmp_path)} | changes.pop("task_params", {})
    sizes = {"num_classes": 3, "input_dim": 16, "support_size": 6, "query_size": 9}
    return TaskConfig(task_id, "intents", **(sizes | changes), task_params=params)


def draw(family: Intents, config: TaskConfig, seed: int = 0):
    return family.sample(config, np.random.default_rng(seed))


def beginnings(x: np.ndarray, y: np.ndarray) -> dict[int, set[tuple[int, ...]]]:
    """The first two tokens of the rows of each label."""
    return {
        label: {tuple(row[:2]) for row in x[y == label].tolist()} for label in set(y)
    }


def test_rows_belong_to_the_class_of_their_label(family, tmp_path):
    config = task(tmp_path)
    episode = draw(family, config)
    support = beginnings(episode.support_x, episode.support_y)
    assert all(len(found) == 1 for found in support.values())
    assert support == beginnings(episode.query_x, episode.query_y)
    names = family.class_names(config)
    colours = [2, 3, 4]
    for label, found in support.items():
        number = LABELS.index(names[label])
        assert found == {(colours[number // 3], colours[number % 3])}


def test_sets_are_balanced_and_no_query_is_a_support(family, tmp_path):
    episode = draw(family, task(tmp_path))
    assert np.bincount(episode.support_y).tolist() == [2, 2, 2]
    assert np.bincount(episode.query_y).tolist() == [3, 3, 3]
    rows = np.concatenate([episode.support_x, episode.query_x])
    assert len(np.unique(rows, axis=0)) == len(rows)


def test_rows_are_padded_to_a_multiple_of_eight_or_cut(family, tmp_path):
    """Eight utterances of an intent have 3 to 10 tokens; an episode of all has 10."""
    long = draw(family, task(tmp_path, support_size=12, query_size=12))
    assert long.support_x.shape == (12, 16)
    assert long.query_x.dtype == np.int32
    assert (long.query_x[:, 10:] == 0).all()
    cut = draw(family, task(tmp_path, support_size=12, query_size=12, input_dim=8))
    assert cut.support_x.shape == (12, 8)


def test_the_name_of_a_class_can_be_one_more_example_of_it(family, tmp_path):
    config = task(tmp_path, task_params={"split": "test"})
    named = replace(config, task_params=config.task_params | {"label_names": True})
    plain, episode = draw(family, config), draw(family, named)
    np.testing.assert_array_equal(episode.support_x[:6], plain.support_x)
    np.testing.assert_array_equal(episode.support_y[:6], plain.support_y)
    np.testing.assert_array_equal(episode.query_x, plain.query_x)
    assert sorted(episode.support_y[6:]) == [0, 1, 2]
    encode = Tokeniser(tmp_path / TOKENIZER, 16)
    for row, label in zip(episode.support_x[6:], episode.support_y[6:], strict=True):
        name = label_text(family.class_names(named)[label])
        expected = encode([name]).rows[0]
        np.testing.assert_array_equal(row[: len(expected)], expected)
        assert not row[len(expected) :].any()


def test_names_without_letters_are_no_examples(family, tmp_path):
    file = tmp_path / "intents" / "clinc150.jsonl.gz"
    text = gzip.decompress(file.read_bytes()).replace(b"intent_", b"1")
    file.write_bytes(gzip.compress(text))
    splits = tmp_path / "intents" / "clinc150_splits.json"
    splits.write_text(splits.read_text().replace("intent_", "1"))
    config = task(tmp_path, task_params={"label_names": True})
    with pytest.raises(ConfigError, match="'10' has no letters"):
        family.check(config)


def test_the_same_generator_samples_the_same_episode(family, tmp_path):
    config = task(tmp_path)
    first, again = draw(family, config, 3), draw(Intents(tmp_path), config, 3)
    other = draw(family, config, 4)
    for one, two in zip(first, again, strict=True):
        np.testing.assert_array_equal(one, two)
    assert not np.array_equal(first.support_x, other.support_x)


def test_splits_have_different_intents(family, tmp_path):
    for split, labels in (("train", LABELS[:3]), ("val", LABELS[3:6])):
        config = task(tmp_path, task_params={"split": split})
        assert sorted(family.class_names(config)) == labels


def test_yaml_may_write_a_class_split_without_quotes(family, tmp_path):
    written = [task(tmp_path, task_params={"class_split": n}) for n in (2, "02")]
    for config in written:
        family.check(config)
    assert family.class_names(written[0]) == family.class_names(written[1])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"task_params": {"dataset": "banking"}}, "did you mean 'banking77'"),
        ({"task_params": {"class_split": 6}}, "class_split: 6 is not valid"),
        ({"task_params": {"split": "valid"}}, "did you mean 'val'"),
        ({"num_classes": 4}, "asked for 4, but there are 3 intents"),
        ({"support_size": 18}, r"need 6 \+ 3 examples of a class"),
        ({"input_dim": 2}, "input_dim: .* this many tokens, expected 8 to 512"),
    ],
)
def test_an_invalid_task_is_an_error(family, tmp_path, changes, message):
    with pytest.raises(ConfigError, match=message):
        family.check(task(tmp_path, **changes))


def test_a_task_without_a_tokenizer_says_where_to_name_it(family):
    with pytest.raises(ConfigError, match=r"or set model\.weights"):
        family.check(TaskConfig("t", "intents", input_dim=16))


def test_the_tokenizer_is_that_of_the_configured_weights(family, tmp_path):
    config = RunConfig.from_dict(
        {
            "task_distribution": {
                "task_families": ["intents"],
                "num_classes": 3,
                "k_shot": 1,
                "query_size": 3,
                "input_dim": 16,
            },
            "model": {"weights": str(tmp_path)},
            "paths": {"data_dir": str(tmp_path)},
        }
    )
    tasks = build_tasks(config)
    assert tasks.input_shape == (16,)
    assert set(tasks.digests()) == {
        "clinc150.jsonl.gz",
        "clinc150_splits.json",
        TOKENIZER,
    }


def test_damaged_utterances_are_an_error(tmp_path):
    file = tmp_path / "some.jsonl.gz"
    file.write_bytes(gzip.compress(b'{"text": "a", "label": "b"}\n{"text": 3}\n'))
    with pytest.raises(DataError, match=r"some\.jsonl\.gz, line 2: not an example"):
        read_utterances(file)


def test_a_file_that_is_no_tokenizer_is_an_error(tmp_path):
    pytest.importorskip("tokenizers")
    (tmp_path / TOKENIZER).write_text("{}")
    with pytest.raises(DataError, match="cannot be read as a tokenizer"):
        Tokeniser(tmp_path / TOKENIZER, 8)


@pytest.mark.parametrize("dataset", ["clinc150", "banking77"])
def test_real_intents_are_sampled(data_dir, minilm, dataset):
    """An episode of each split; each row begins with [CLS], its last token is [SEP]."""
    assert model_file(minilm, TOKENIZER).is_file()
    family = get_family("intents", data_dir)
    names: set[str] = set()
    for split in ("train", "val", "test"):
        params = {"dataset": dataset, "tokenizer": minilm, "split": split}
        config = TaskConfig("t", "intents", 25, 64, 25, 25, params)
        family.check(config)
        episode = draw(family, config)
        assert (episode.support_x[:, 0] == 101).all()
        ends = (episode.support_x != 0).sum(axis=1) - 1
        assert (episode.support_x[np.arange(25), ends] == 102).all()
        assert names.isdisjoint(family.class_names(config))
        names |= set(family.class_names(config))


def test_all_utterances_of_a_split_come_with_the_index_of_their_intent(
    family, tmp_path
):
    rows, labels = family.utterances(task(tmp_path))
    assert rows.shape[0] == 24
    assert labels.tolist() == [0] * 8 + [1] * 8 + [2] * 8
    first = rows[labels == 1][0]
    assert WORDS["red"] == first[0]
    assert (rows[:, -1] == WORDS["[PAD]"]).any()
