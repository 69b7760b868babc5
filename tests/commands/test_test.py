"""`mlpeft test`, as one types it."""

from __future__ import annotations

import csv
import json

import pytest
from typer.testing import CliRunner

from mlpeft.adapters.text_classifier import TextClassifier
from mlpeft.cli import app
from tests.adapters.runs import EXAMPLES, write_base, write_run

TEXTS = [text for text, _ in EXAMPLES]
LABELS = [label for _, label in EXAMPLES]


def invoke(*words: object, code: int = 0) -> str:
    result = CliRunner().invoke(app, list(map(str, words)))
    assert result.exit_code == code, result.output
    return result.output


def table(file, rows, header=("text", "label")):
    with file.open("w", newline="") as lines:
        csv.writer(lines).writerows([header, *rows])
    return file


def rows_of(file):
    with file.open(newline="") as lines:
        return list(csv.reader(lines))


@pytest.fixture
def clf(tmp_path):
    return TextClassifier.fit(TEXTS * 2, LABELS * 2, base=write_base(tmp_path / "base"))


@pytest.fixture
def adapter(clf, tmp_path):
    return clf.save(tmp_path / "adapter")


@pytest.fixture
def data(tmp_path):
    return table(tmp_path / "test.csv", [*EXAMPLES, ("is is", "else")])


def test_it_says_what_evaluate_says(clf, adapter, data):
    said = invoke("test", "--adapter", adapter, "--data", data, "--json")
    found = json.loads(said)
    assert found["accuracy"] == pytest.approx(4 / 5)
    assert found["in_scope_accuracy"] == 1.0
    expected = clf.evaluate(data, out_of_scope="else")
    assert found["intervals"] == expected["intervals"]
    assert found["mcc"] == pytest.approx(expected["mcc"])


def test_tables_and_files_are_written(adapter, data, tmp_path):
    pytest.importorskip("matplotlib")
    output = tmp_path / "out"
    words = ["test", "--adapter", adapter, "--data", data, "--reject-below", 0.1]
    said = invoke(*words, "-o", output)
    for part in ("out-of-scope recall", "0.1 *", "Most confused", "is is", "'else'"):
        assert part in said
    names = {file.name for file in output.iterdir()}
    pictures = ("confusion_matrix", "reliability", "rejection")
    assert names == {
        *(f"{name}.{kind}" for name in pictures for kind in ("png", "svg")),
        "confusion_matrix.csv",
        "report.json",
        "wrong.csv",
    }
    rows = rows_of(output / "confusion_matrix.csv")
    assert rows[0] == ["label", "delivery", "refund", "none of these"]
    assert rows[1] == ["delivery", "2", "0", "0"]
    (_, wrong) = rows_of(output / "wrong.csv")
    assert wrong[0] == "is is"


def test_an_adapter_of_a_run_is_tested(tmp_path, data):
    run, output = write_run(tmp_path), tmp_path / "adapter"
    support = table(tmp_path / "support.csv", EXAMPLES)
    invoke("adapt", "--checkpoint", run, "--support", support, "--output", output)
    words = ["test", "--adapter", output, "--data", data, "--json"]
    assert json.loads(invoke(*words))["texts"] == 5


def test_columns_have_names_of_ones_own(adapter, tmp_path):
    data = table(tmp_path / "t.csv", EXAMPLES, ("message", "intent"))
    words = ["test", "--adapter", adapter, "--data", data, "--json"]
    words += ["--text-column", "message"]
    assert json.loads(invoke(*words, "--label-column", "intent"))["accuracy"] == 1.0
    error = CliRunner().invoke(app, list(map(str, words))).exception
    assert "no label in column 'label'; its columns are message, intent" in str(error)


def test_several_labels_a_text_are_tested(tmp_path):
    labels = [[label] for label in LABELS]
    labels[0] = ["delivery", "urgent"]
    clf = TextClassifier.fit(TEXTS, labels, base=write_base(tmp_path / "base"))
    rows = [
        {"text": text, "labels": own} for text, own in zip(TEXTS, labels, strict=True)
    ]
    rows.append({"text": "is", "labels": ["else"]})
    data = tmp_path / "t.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    adapter = clf.save(tmp_path / "adapter")
    said = invoke("test", "--adapter", adapter, "--data", data)
    assert "micro F1" in said
    assert "count as missed (1 of 5 texts): 'else'" in said


def test_an_output_that_is_a_file_is_told_first(adapter, data):
    pytest.importorskip("matplotlib")
    said = invoke("test", "--adapter", adapter, "--data", data, "-o", data, code=2)
    assert "is a file" in said
