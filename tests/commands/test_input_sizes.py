"""Commands that take a user's examples, with files of every size."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from mlpeft.cli import app
from tests.adapters.runs import WORDS, write_run

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
    assert (
        error is None
        or isinstance(error, SystemExit | ValueError)
        or (type(error).__module__.startswith("mlpeft"))
    ), repr(error)
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
