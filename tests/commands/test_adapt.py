"""`mlpeft adapt` and `mlpeft predict`, as one types them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from mlpeft.cli import app
from mlpeft.config import parse_yaml
from tests.adapters.runs import EXAMPLES, write_base, write_run

CONFIGS = Path(__file__).parents[2] / "configs"


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


@pytest.mark.parametrize("count", [4, 10, 40])
@pytest.mark.parametrize("recipe", ["intents.yaml", "intents_reptile.yaml"])
def test_the_shipped_recipes_adapt_to_any_number_of_examples(tmp_path, recipe, count):
    shipped = parse_yaml((CONFIGS / recipe).read_text())
    sections = {key: shipped[key] for key in ("meta_learning", "evaluation")}
    sections["task_distribution"] = shipped["task_distribution"] | {"input_dim": 8}
    run_dir = write_run(tmp_path, **sections)
    support = tmp_path / "support.csv"
    rows = [f"{text},{label}" for text, label in EXAMPLES * 10][:count]
    support.write_text("\n".join(["text,label", *rows]))
    words = ["adapt", "--checkpoint", str(run_dir), "--support", str(support)]
    output = str(tmp_path / "adapter")
    result = CliRunner().invoke(app, [*words, "--output", output, "--json"])
    assert result.exit_code == 0, result.output
    assert json.loads(result.output)["labels"] == ["delivery", "refund"]
    result = CliRunner().invoke(app, ["predict", "--adapter", output, EXAMPLES[0][0]])
    assert result.exit_code == 0, result.output
    assert result.output.startswith("delivery ")


def test_labels_are_described_and_weighed(tmp_path):
    """A label without examples is known by its description alone."""
    base = write_base(tmp_path / "base")
    support, about = tmp_path / "support.csv", tmp_path / "about.csv"
    support.write_text("text,label\nwhere is my parcel,a1\nmy parcel please,a1\n")
    about.write_text("text,label\nmoney back,2\n")
    words = ["adapt", "--start", "none", "--base", str(base), "--support", str(support)]
    words += ["--descriptions", str(about), "--output", str(tmp_path / "made")]
    result = CliRunner().invoke(app, [*words, "--class-weight", "balanced", "--json"])
    assert result.exit_code == 0, result.output
    assert json.loads(result.output)["labels"] == ["2", "a1"]
    result = CliRunner().invoke(app, [*words, "--class-weight", "even"])
    assert result.exit_code != 0
    assert "class_weight" in str(result.exception)


def test_columns_of_other_names_are_read_and_slips_are_told(tmp_path):
    support = tmp_path / "support.csv"
    rows = [f"{text},{label}" for text, label in [*EXAMPLES, ("my money", "Refund")]]
    support.write_text("\n".join(["utterance,intent", *rows]))
    base = str(write_base(tmp_path / "base"))
    words = ["adapt", "--start", "none", "--base", base, "--support", str(support)]
    words += ["--output", str(tmp_path / "adapter")]
    refused = CliRunner().invoke(app, words)
    assert "its columns are utterance, intent" in str(refused.exception)
    assert "--text-column or --label-column" in str(refused.exception)
    words += ["--text-column", "utterance", "--label-column", "intent"]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 0, result.output
    assert "Learned 3 labels from 5 examples" in result.output
    assert "Is this meant? the labels 'Refund' and 'refund' differ" in result.output
    assert "'my money' with 'Refund' and 'refund'" in result.output


def test_columns_go_with_a_start(tmp_path):
    words = ["adapt", "--checkpoint", "x", "--support", "y", "--output", "z"]
    result = CliRunner().invoke(app, [*words, "--label-column", "intent"])
    assert result.exit_code == 2
    assert "go with --start" in " ".join(result.output.replace("│", " ").split())


def test_a_table_without_names_of_columns_shows_the_beginning_of_its_cells(tmp_path):
    support = tmp_path / "support.csv"
    support.write_text(f"{'where is my parcel ' * 20},delivery\nmy money,refund\n")
    words = ["adapt", "--start", "none", "--support", str(support), "--output", "z"]
    message = str(CliRunner().invoke(app, words).exception)
    assert "the first line of a table names them" in message
    assert len(message) < 300 + len(str(support))
