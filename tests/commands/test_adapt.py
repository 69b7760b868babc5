"""`mlpeft adapt` and `mlpeft predict`, as one types them."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from mlpeft.cli import app
from tests.adapters.runs import EXAMPLES, write_run


@pytest.fixture
def adapted(tmp_path):
    run_dir = write_run(tmp_path)
    support = tmp_path / "support.jsonl"
    support.write_text(
        "\n".join(json.dumps({"text": t, "label": label}) for t, label in EXAMPLES)
    )
    output = tmp_path / "adapter"
    words = ["adapt", "--checkpoint", str(run_dir), "--support", str(support)]
    result = CliRunner().invoke(
        app, [*words, "--output", str(output), "--steps", "20", "--json"]
    )
    assert result.exit_code == 0, result.output
    record = json.loads(result.output)
    assert record["labels"] == ["delivery", "refund"]
    assert record["steps"] == 20
    return output


def test_texts_get_a_label_and_a_confidence(adapted):
    words = ["predict", "--adapter", str(adapted), "where is my parcel", "my money"]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 0, result.output
    one, other = result.output.splitlines()
    assert one.startswith("delivery ")
    assert one.endswith(" %  where is my parcel")
    assert other.startswith("refund ")


def test_lines_of_standard_input_are_classified_as_json(adapted):
    words = ["predict", "--adapter", str(adapted), "--json"]
    result = CliRunner().invoke(app, words, input="my money\n\nwhere is my parcel\n")
    records = [json.loads(line) for line in result.output.splitlines()]
    assert [record["label"] for record in records] == ["refund", "delivery"]
    assert records[0]["text"] == "my money"
    assert set(records[0]["scores"]) == {"delivery", "refund"}


def test_no_text_at_all_is_told(adapted):
    words = ["predict", "--adapter", str(adapted)]
    result = CliRunner().invoke(app, words, input="\n")
    assert result.exit_code == 2
    assert "standard input has no text" in result.output
