"""Tasks of a user's own texts, from Python."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import numpy as np
import pytest

import mlpeft
from mlpeft.errors import ConfigError, DataError

PAIRS = [
    (f"the {label} of {number}", label)
    for label in ("arrival", "bill", "colour", "damage", "engine", "fine", "gift")
    for number in range(6)
]
SMALL = {"num_classes": 2, "k_shot": 1, "query_size": 2, "num_val_tasks": 1}
SHARES = {"split_shares": [3, 2, 2]}


def test_pairs_give_the_episodes_of_a_file_that_holds_them(minilm, tmp_path):
    file = tmp_path / "texts.jsonl"
    lines = (json.dumps({"text": text, "label": label}) for text, label in PAIRS)
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    made = [
        mlpeft.text_tasks(given, minilm, seed=3, task_params=SHARES, **SMALL)
        for given in (PAIRS, file)
    ]
    one, other = (tasks.train.sample_episode() for tasks in made)
    for mine, its in zip(one[1:], other[1:], strict=True):
        assert np.array_equal(np.asarray(mine), np.asarray(its))
    assert made[0].num_outputs == 2


def test_what_is_in_memory_is_kept_where_others_cannot_read_it(minilm):
    tasks = mlpeft.text_tasks(PAIRS, minilm, task_params=SHARES, **SMALL)
    (config, *_) = tasks.train.configs
    file = Path(config.task_params["dataset"])
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700


def test_triples_are_tasks_of_completions(smollm2):
    triples = [
        (f"writer {writer}", f"say {number}", f"{number}!")
        for writer in range(5)
        for number in range(4)
    ]
    tasks = mlpeft.completion_tasks(triples, smollm2, k_shot=2, query_size=2)
    _, x, y, *_ = tasks.test.sample_episode()
    assert x.shape == y.shape
    assert len(x) == 2


@pytest.mark.parametrize(
    ("examples", "told"),
    [
        ([], "no examples"),
        (["a text", "another"], "'a text' is not an example; expected (text, label)"),
        ([("one", "two", "three")], "expected (text, label)"),
    ],
)
def test_what_are_no_pairs_are_refused(examples, told):
    with pytest.raises(DataError, match="example") as refused:
        mlpeft.text_tasks(examples, "anything")
    assert told in str(refused.value)


def test_settings_are_keys_of_the_configuration():
    with pytest.raises(ConfigError, match="did you mean 'k_shot'"):
        mlpeft.text_tasks(PAIRS, "anything", kshot=3)
