"""Commands that take a user's examples, with files of every size.

Those that take folders of ours, or of other libraries, are in test_folder_sizes.py.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from mlpeft.cli import app
from mlpeft.errors import MlpeftError
from tests.adapters.runs import WORDS, write_base, write_run

SIZES = {
    "one": {"delivery": 1},
    "two_of_one_class": {"delivery": 2},
    "one_a_class": {"delivery": 1, "refund": 1},
    "uneven": {"delivery": 40, "refund": 1, "login": 3},
    "many": {f"label {number}": 9 for number in range(12)},
    "empty": {},
}
TOO_SMALL = {"one", "two_of_one_class", "empty"}
"""Nothing can be told apart with one class, or none."""


def write(folder: Path, counts: dict[str, int]) -> Path:
    """A file of examples that all differ."""
    path = folder / "examples.jsonl"
    words = WORDS[2:]
    with path.open("w", encoding="utf-8") as file:
        for number, (label, count) in enumerate(counts.items()):
            for index in range(count):
                text = f"{words[number % 7]} {words[index % 7]} {number} {index}"
                file.write(json.dumps({"text": text, "label": label}) + "\n")
    return path


def mlpeft(*words: str | Path) -> tuple[int, str]:
    """Exit code and all that was said; an error must be one of ours."""
    result = CliRunner().invoke(app, [str(word) for word in words])
    error = result.exception
    assert error is None or isinstance(error, SystemExit | MlpeftError | OSError), repr(
        error
    )
    return result.exit_code, f"{result.output}{error or ''}"


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory) -> Path:
    return write_run(
        tmp_path_factory.mktemp("run"),
        task_distribution={"input_dim": 8},
        compute={"strategy": "loop"},
    )


@pytest.mark.parametrize("size", SIZES)
def test_data_verify_counts_any_file(tmp_path, size):
    file = write(tmp_path, SIZES[size])
    code, said = mlpeft("data", "verify", file)
    assert said.strip()
    assert (code != 0) == (size == "empty"), said


@pytest.mark.parametrize("size", SIZES)
def test_an_adapter_is_made_used_and_taken_elsewhere(tmp_path, run_dir, size):
    file = write(tmp_path, SIZES[size])
    adapter = tmp_path / "adapter"
    words = ("adapt", "--checkpoint", run_dir, "--support", file)
    code, said = mlpeft(*words, "--output", adapter)
    if size in TOO_SMALL:
        assert code != 0
        assert "label" in said or "empty" in said or "example" in said, said
        assert not adapter.exists()
        return
    assert code == 0, said
    code, said = mlpeft("predict", "--adapter", adapter, *("where is my parcel",) * 3)
    assert (code, len(said.splitlines())) == (0, 3), said
    for name in ("peft", "merged"):
        output = tmp_path / name
        command = ("export", "--adapter", adapter, "--format", name, "--output")
        code, said = mlpeft(*command, output)
        assert code == 0, said


@pytest.fixture(scope="module")
def base(tmp_path_factory) -> Path:
    return write_base(tmp_path_factory.mktemp("base") / "encoder")


@pytest.mark.parametrize("head", ["auto", "prototype", "ridge", "logistic", "mean"])
@pytest.mark.parametrize("size", SIZES)
def test_a_head_is_fitted_to_any_file_with_two_labels(tmp_path, base, size, head):
    file, adapter = write(tmp_path, SIZES[size]), tmp_path / "adapter"
    words = ("adapt", "--start", "none", "--base", base, "--head", head)
    code, said = mlpeft(*words, "--support", file, "--output", adapter)
    assert (code == 0) == (size not in TOO_SMALL), said
    assert adapter.exists() == (code == 0)
    if code:
        assert "two labels" in said or "no examples" in said, said
        return
    assert f"Learned {len(SIZES[size])} labels" in said
    labelled = tmp_path / "labelled.jsonl"
    code, said = mlpeft("predict", "--adapter", adapter, "--data", file, "-o", labelled)
    assert code == 0, said
    rows = [json.loads(line) for line in labelled.read_text().splitlines()]
    assert len(rows) == sum(SIZES[size].values())
    assert {row["label"] for row in rows} <= set(SIZES[size])


TABLES = {
    "one.csv": ("text\nwhere\n", 1),
    "two.tsv": ("text\tid\nwhere\t1\nmoney\t2\n", 2),
    "over_a_chunk.csv": ("text\n" + "where is it\n" * 1030, 1030),
    "one.json": ('[{"text": "where"}]', 1),
    "uneven.jsonl": ('{"text": "is"}\n{"text": "my", "id": [1], "label": "a"}\n', 2),
    "empty.csv": ("", 0),
    "empty.json": ("[]", 0),
    "empty.jsonl": ("\n", 0),
    "header.csv": ("text\n", 0),
    "no_header.csv": ("where is my parcel\n", 0),
    "blank.jsonl": ('{"text": " "}\n', 0),
}


@pytest.fixture(scope="module")
def fitted(tmp_path_factory, base) -> Path:
    folder = tmp_path_factory.mktemp("fitted")
    file = write(folder, SIZES["one_a_class"])
    words = ("adapt", "--start", "none", "--base", base, "--support", file)
    assert mlpeft(*words, "--output", folder / "adapter")[0] == 0
    return folder / "adapter"


@pytest.mark.parametrize("name", TABLES)
def test_the_rows_of_any_table_are_labelled(tmp_path, fitted, name):
    """Where there is none, nothing is written over and the file is named."""
    content, rows = TABLES[name]
    file, output = tmp_path / name, tmp_path / "output.csv"
    file.write_text(content, encoding="utf-8")
    output.write_text("what was there")
    words = ("predict", "--adapter", fitted, "--data", file)
    code, said = mlpeft(*words, "-o", output)
    lines = output.read_text(encoding="utf-8").splitlines()
    if rows:
        assert (code, len(lines)) == (0, rows + 1), said
        code, said = mlpeft(*words, "--json")
        assert [len(json.loads(line)) > 1 for line in said.splitlines()] == [
            True
        ] * rows
        return
    assert code != 0
    assert f"{file}" in said
    assert "no text" in said
    assert lines == ["what was there"]


@pytest.mark.parametrize(
    ("content", "code"), [("", 1), ("text\n", 1), ("text\nmy\n", 0)]
)
def test_a_file_of_unlabelled_texts_has_some(tmp_path, base, content, code):
    more = tmp_path / "more.csv"
    more.write_text(content)
    words = ("adapt", "--start", "none", "--base", base, "--unlabelled", more)
    file = write(tmp_path, SIZES["one_a_class"])
    found = mlpeft(*words, "--support", file, "--output", tmp_path / "adapter")
    assert found[0] == code
    assert ("has no texts" in found[1]) == bool(code)


@pytest.mark.parametrize("size", SIZES)
def test_a_configuration_with_too_few_labels_is_told_how_many_it_needs(
    tmp_path, run_dir, size, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    file = write(tmp_path, SIZES[size])
    key = f"task_distribution.task_params.dataset={file}"
    words = ("validate", "--config", run_dir / "config.yaml", "--set", key)
    code, said = mlpeft(*words, "--set", "task_distribution.query_size=2")
    assert "Error: " not in said, said
    assert (code == 0) == (size == "many"), said


@pytest.mark.parametrize("episodes", [1, 12])
def test_any_number_of_episodes_is_scored_and_compared(
    tmp_path, run_dir, episodes, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("mlpeft.evaluation.evaluate.LR_FACTORS", (1.0,))
    file = write(tmp_path, SIZES["many"])
    changes = [
        f"--set=task_distribution.{change}"
        for change in (f"task_params.dataset={file}", "query_size=2", "k_shot=1")
    ]
    changes.append("--set=evaluation.num_val_episodes=1")
    words = ("--checkpoint", run_dir, "--episodes", episodes, *changes)
    assert mlpeft("evaluate", *words)[0] == 0
    code, said = mlpeft("compare", *words, "--k-shots", "1", "--no-joint")
    assert code == 0, said
