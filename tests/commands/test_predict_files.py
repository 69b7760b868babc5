"""`mlpeft adapt --start` and `mlpeft predict --data`, as one types them."""

from __future__ import annotations

import csv
import json

import pytest
from typer.testing import CliRunner

from mlpeft.cli import app
from tests.adapters.runs import EXAMPLES, write_base


def invoke(*words: object, code: int = 0) -> str:
    result = CliRunner().invoke(app, list(map(str, words)))
    assert result.exit_code == code, result.output
    return result.output


@pytest.fixture
def table(tmp_path):
    file = tmp_path / "support.csv"
    with file.open("w", newline="") as lines:
        rows = [("text", "label", "id"), *((*e, n) for n, e in enumerate(EXAMPLES * 2))]
        csv.writer(lines).writerows(rows)
    return file


@pytest.fixture
def adapter(tmp_path, table):
    words = ["adapt", "--start", "none", "--base", write_base(tmp_path / "base")]
    output = tmp_path / "adapter"
    said = invoke(*words, "--support", table, "--output", output)
    assert "Learned 2 labels from 8 examples" in said
    return output


def test_a_tables_rows_are_labelled_in_their_order(adapter, table, tmp_path):
    """The header is no text, the gold label no part of one."""
    output = tmp_path / "out.csv"
    invoke("predict", "--adapter", adapter, "--data", table, "-o", output)
    with output.open(newline="") as lines:
        rows = list(csv.DictReader(lines))
    assert [row["id"] for row in rows] == [str(n) for n in range(8)]
    assert [row["label"] for row in rows] == [row["gold"] for row in rows]
    assert list(rows[0]) == ["text", "id", "gold", "label", "confidence"]


def test_json_lines_with_a_column_of_ones_own(adapter, tmp_path):
    file, output = tmp_path / "t.jsonl", tmp_path / "o.jsonl"
    file.write_text(json.dumps({"message": "my money"}) + "\n")
    words = ["predict", "--adapter", adapter, "--data", file, "-o", output]
    invoke(*words, "--text-column", "message", "--reject-below", 1)
    (row,) = map(json.loads, output.read_text().splitlines())
    assert row["label"] == "none of these"
    assert "no text in column" in str(
        CliRunner().invoke(app, list(map(str, words))).exception
    )


def test_what_does_not_go_together_is_told(adapter, table):
    same = ["predict", "--adapter", adapter, "--data", table]
    assert "file of --data" in invoke(*same, "-o", table, code=2)
    assert "not both" in invoke(*same, "a text", code=2)
    words = ["adapt", "--support", table, "--output", "x"]
    assert "give one of the two" in invoke(*words, code=2)
    assert "--config" in invoke(*words, "--start", "none", "--config", table, code=2)


def test_the_starts_are_listed():
    assert "none" in invoke("starts", "list")
