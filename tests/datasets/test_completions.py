"""Files of prompts and completions."""

from __future__ import annotations

import gzip
import json
from itertools import chain

import pytest

from mlpeft.datasets.completions import Example, read_completions
from mlpeft.datasets.split_assignment import assign_splits
from mlpeft.errors import DataError


def line(task="anna", prompt="p", completion="c", **more) -> dict:
    return {"task": task, "prompt": prompt, "completion": completion, **more}


def write(path, rows) -> None:
    path.write_text("\n".join(json.dumps(row) for row in rows) + "\n\n")


@pytest.fixture
def file(tmp_path):
    return tmp_path / "data.jsonl"


def test_examples_are_kept_by_task_in_the_files_order(file):
    write(file, [line("b", "1"), line("a", "2"), line("b", "3", note="unused")])
    examples = read_completions(file).examples
    assert examples == {
        "b": [Example("1", "c"), Example("3", "c")],
        "a": [Example("2", "c")],
    }


def test_a_compressed_file_reads_the_same(tmp_path, file):
    write(file, [line()])
    packed = tmp_path / "data.jsonl.gz"
    packed.write_bytes(gzip.compress(file.read_bytes()))
    assert read_completions(packed) == read_completions(file)


def test_tasks_are_assigned_to_splits_by_name_alone(file):
    names = [f"task {number}" for number in range(10)]
    write(file, [line(name) for name in names])
    splits = read_completions(file).splits
    assert [len(splits[split]) for split in ("train", "val", "test")] == [6, 2, 2]
    assert sorted(chain.from_iterable(splits.values())) == names
    write(file, [line(name, "other") for name in reversed(names)])
    assert read_completions(file).splits == splits


def test_an_assignment_of_few_omits_empty_splits():
    assert assign_splits(["only"]) == {"train": ["only"]}


def test_a_split_on_each_line_is_followed(file):
    rows = [line("a", split="test"), line("b", split="train"), line("c", split="test")]
    write(file, rows)
    assert read_completions(file).splits == {"train": ["b"], "test": ["a", "c"]}


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([line(), {"prompt": "p", "task": "t"}], "line 2: expected .*got prompt, task"),
        ([["p", "c"]], "line 1: expected .*got list"),
        ([line(prompt=3)], "line 1: prompt is 3, expected a string"),
        ([line(completion="")], "the completion is empty"),
        ([line(split="dev")], "split is 'dev'"),
        ([line(split="val"), line(split="test")], "line 2.*belongs to one split"),
        ([line("a", split="val"), line("b")], "'b' has no split but others do"),
        ([], "has no lines"),
    ],
)
def test_a_line_in_another_format_is_named(file, rows, message):
    write(file, rows)
    with pytest.raises(DataError, match=message):
        read_completions(file)


def test_a_damaged_file_names_the_line(file):
    file.write_text(json.dumps(line()) + "\n{nonsense\n")
    with pytest.raises(DataError, match="line 2: not JSON"):
        read_completions(file)


def test_a_missing_file_names_its_path(file):
    with pytest.raises(DataError, match=f"no file at {file}"):
        read_completions(file)


def messages(*roles):
    return [{"role": role, "content": f"{role} says"} for role in roles]


def test_a_conversation_is_a_prompt_and_a_completion(file):
    write(file, [{"task": 7, "messages": messages("system", "user", "assistant")}])
    expected = Example("system says\n\nuser says", "assistant says")
    assert read_completions(file).examples == {"7": [expected]}


@pytest.mark.parametrize(
    ("conversation", "message"),
    [
        (messages("user"), "a conversation of user; expected one answer"),
        (messages("user", "assistant", "user", "assistant"), "one example for each"),
        (["hello"], "line 1: expected messages like"),
    ],
)
def test_a_conversation_without_one_answer_is_named(file, conversation, message):
    write(file, [{"task": "a", "messages": conversation}])
    with pytest.raises(DataError, match=message):
        read_completions(file)


@pytest.mark.parametrize("task", [None, ["a"], 1.5])
def test_a_tasks_name_is_a_string_or_a_whole_number(file, task):
    write(file, [line(task)])
    with pytest.raises(
        DataError, match=r"line 1: task is .*, expected a string or a w"
    ):
        read_completions(file)


def test_a_json_array_and_a_table_are_read_like_lines(tmp_path, file):
    write(file, [line("a"), line("b")])
    array, table = tmp_path / "data.json", tmp_path / "data.csv"
    array.write_text(json.dumps([line("a"), line("b")]))
    table.write_text("task;prompt;completion\na;p;c\nb;p;c\n")
    for other in (array, table):
        assert read_completions(other) == read_completions(file)
