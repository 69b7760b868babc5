"""The starts that ship: what they hold, where they are found, what they need."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from typer.testing import CliRunner

from mlpeft.adapters import starts
from mlpeft.adapters.adapter import Adapter
from mlpeft.adapters.text_classifier import TextClassifier
from mlpeft.cli import app
from mlpeft.errors import DataError
from tests.adapters.runs import EXAMPLES, write_base, write_run

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = sorted(starts.FOLDER.iterdir())
TEXTS = [text for text, _ in EXAMPLES]
LABELS = [label for _, label in EXAMPLES]


def test_they_are_listed_with_what_they_were_made_from():
    assert starts.starts() == tuple(folder.name for folder in FOLDERS) == ("intents",)
    said = CliRunner().invoke(app, ["starts", "list"]).output
    assert "intents  intents of Banking77 and CLINC150" in said
    assert "none     the base as it is" in said
    told = CliRunner().invoke(app, ["starts", "list", "--json"]).output
    assert set(json.loads(told)) == {"intents", "none"}


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_a_start_is_small_and_names_no_place_of_its_maker(folder):
    files = {file.name: file.stat().st_size for file in folder.iterdir()}
    assert set(files) == {"README.md", "adapter.json", "adapter.safetensors"}
    assert sum(files.values()) < 1.5e6
    record = json.loads((folder / "adapter.json").read_text())
    assert record["labels"] == []
    assert record["config"]["model"]["weights"] == starts.HUB_BASE
    assert '"/' not in (folder / "adapter.json").read_text()
    card = (folder / "README.md").read_text()
    assert "{" not in card
    for licence in ("licenses/by/4.0", "licenses/by/3.0"):
        assert licence in card


def test_an_adapter_in_memory_is_a_start_too(tmp_path):
    run = write_run(tmp_path)
    start = starts.find_start(run)
    assert isinstance(start, Adapter)
    clf = TextClassifier.fit(TEXTS, LABELS, start=start)
    assert list(clf.predict(TEXTS)) == LABELS
    again = TextClassifier.load(clf.save(tmp_path / "adapter"))
    assert list(again.predict(TEXTS)) == LABELS


def test_another_base_is_refused(tmp_path):
    with pytest.raises(DataError, match="adapted from other weights"):
        TextClassifier.fit(
            TEXTS, LABELS, start="intents", base=write_base(tmp_path / "base")
        )


def test_without_the_base_it_says_where_to_get_one(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert starts.default_base() == "sentence-transformers/all-MiniLM-L6-v2"
    monkeypatch.setattr(starts, "default_base", lambda: "no-such-owner/no-such-model")
    monkeypatch.setattr(
        "huggingface_hub.snapshot_download", lambda *_, **__: 1 / 0, raising=False
    )
    with pytest.raises(DataError, match="give the folder of a local copy"):
        TextClassifier.fit(TEXTS, LABELS, start="intents")


def test_the_wheel_carries_them_and_they_work_from_there(tmp_path, minilm):
    pytest.importorskip("hatchling", reason="builds the wheel")
    words = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", tmp_path]
    subprocess.run(words, cwd=ROOT, check=True, capture_output=True, timeout=60)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "installed")
    code = (
        "import mlpeft; from mlpeft import TextClassifier\n"
        "clf = TextClassifier.fit(['where is my parcel', 'money back'], ['a', 'b'], "
        "start='intents')\n"
        "print(mlpeft.__file__, *clf.predict(['where is it', 'my money back']))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(tmp_path / "installed")},
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    assert done.returncode == 0, done.stderr
    file, *labels = done.stdout.split()
    assert Path(file).is_relative_to(tmp_path)
    assert labels == ["a", "b"]
