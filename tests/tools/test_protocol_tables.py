"""The tables of docs/protocol.md are those that the state machines enforce."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def script():
    path = ROOT / "tools" / "protocol_tables.py"
    spec = importlib.util.spec_from_file_location("protocol_tables", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def document(script, tmp_path):
    """A copy that may be changed."""
    copy = tmp_path / "protocol.md"
    copy.write_text(script.DOCUMENT.read_text())
    return copy


def test_the_documents_tables_are_those_of_the_code(script):
    assert script.main(["--check"]) == 0, "run tools/protocol_tables.py"


def test_a_stale_table_is_told_and_mended(script, document, capsys):
    right = document.read_text()
    row = "| `Started` | dialling | error | error | error |"
    assert row in right
    document.write_text(right.replace(row, "| `Started` | stays | error |"))
    assert script.main(["--check"], document) == 1
    assert "run tools/protocol_tables.py" in capsys.readouterr().out
    assert script.main([], document) == 0
    assert document.read_text() == right


def test_a_document_without_a_place_for_a_table_is_refused(script, document):
    document.write_text("no tables here")
    with pytest.raises(SystemExit, match="events of the worker"):
        script.main([], document)
