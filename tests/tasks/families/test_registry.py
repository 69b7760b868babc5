"""The registry of families."""

from __future__ import annotations

import pytest

from mlpeft.errors import ConfigError
from mlpeft.tasks.episode import TaskConfig
from mlpeft.tasks.families import FAMILIES, get_family


@pytest.mark.parametrize("name", FAMILIES)
def test_a_family_has_the_name_in_the_registry(name):
    assert get_family(name).name == name


@pytest.mark.parametrize("name", [n for n in FAMILIES if not n.startswith("custom")])
def test_a_family_accepts_the_task_params_in_the_registry(name):
    listed = FAMILIES[name].task_params.split(", ")
    params = dict.fromkeys(["no_such_thing", *listed], object())
    with pytest.raises(ConfigError) as caught:
        get_family(name).check(TaskConfig("a", name, task_params=params))
    unknown = [p for p in caught.value.problems if f"unknown to {name}" in p]
    assert len(unknown) == 1
    assert "no_such_thing" in unknown[0]
    for param in listed:
        assert param in unknown[0] or "did you mean" in unknown[0]


def test_digits_are_counted_for_people():
    pytest.importorskip("sklearn")
    about = FAMILIES["digits"].describe({}, None)
    assert about.startswith("1,797 images; classes: train 5, val 5, test 5; ")


def test_completions_are_counted_for_people(tmp_path):
    file = tmp_path / "styles.jsonl"
    row = '{"task": "%s", "prompt": "p", "completion": "c", "split": "%s"}\n'
    file.write_text(row % ("a", "train") + row % ("a", "train") + row % ("b", "test"))
    about = FAMILIES["completions"].describe({"path": str(file)}, None)
    assert about == "3 examples; tasks: train 1, test 1; 1 ('b') to 2 examples each"
