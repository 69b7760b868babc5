"""`mlpeft suggest`, as one types it."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from mlpeft.adapters.text_classifier import TextClassifier
from mlpeft.cli import app
from tests.adapters.runs import EXAMPLES, write_base


@pytest.fixture
def adapter(tmp_path):
    texts, labels = zip(*EXAMPLES, strict=True)
    base = write_base(tmp_path / "base")
    return TextClassifier.fit(list(texts), list(labels), base=base).save(tmp_path / "a")


def invoke(*words: object):
    return CliRunner().invoke(app, list(map(str, words)))


def test_texts_that_are_not_labelled_yet_are_suggested(adapter, tmp_path):
    pool = tmp_path / "pool.txt"
    pool.write_text("my money\nis is is\n\nis is is\nwhere\n")
    words = ["suggest", "--adapter", adapter, "--pool", pool]
    said = invoke(*words, "--json")
    assert said.exit_code == 0, said.output
    found = [json.loads(line)["text"] for line in said.stdout.splitlines()]
    assert sorted(found) == ["is is is", "where"]
    output = tmp_path / "next.csv"
    assert invoke(*words, "-n", 1, "-o", output).exit_code == 0
    header, row = output.read_text().splitlines()
    assert header == "text,label,guess,confidence"
    assert row.startswith(f"{found[0]},,")


def test_a_pool_without_texts_is_told(adapter, tmp_path):
    empty = tmp_path / "pool.txt"
    empty.write_text("\n")
    error = invoke("suggest", "--adapter", adapter, "--pool", empty).exception
    assert "has no texts" in str(error)
    words = ["suggest", "--adapter", adapter, "--pool", tmp_path / "none.txt"]
    assert "no texts at" in str(invoke(*words).exception)
