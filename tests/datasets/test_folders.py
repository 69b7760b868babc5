"""The folders that are searched for data."""

from __future__ import annotations

import pytest

from mlpeft.datasets import folders
from mlpeft.errors import DataError


@pytest.fixture(autouse=True)
def _elsewhere(monkeypatch, tmp_path):
    monkeypatch.setattr(folders, "_CHECKOUT", tmp_path / "checkout")
    monkeypatch.delenv("MLPEFT_DATA_DIR", raising=False)
    monkeypatch.chdir(tmp_path)


def put(folder, name="a/b.txt"):
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("here")
    return path


def test_the_variable_comes_before_the_configuration_before_the_shared_folder(
    tmp_path, monkeypatch
):
    shared = put(tmp_path / "shared" / "data")
    assert folders.find("a/b.txt", tmp_path / "mine") == shared
    mine = put(tmp_path / "mine")
    assert folders.find("a/b.txt", tmp_path / "mine") == mine
    named = put(tmp_path / "named")
    monkeypatch.setenv("MLPEFT_DATA_DIR", str(tmp_path / "named"))
    assert folders.find("a/b.txt", tmp_path / "mine") == named


def test_a_folder_without_the_file_is_skipped(tmp_path, monkeypatch):
    monkeypatch.setenv("MLPEFT_DATA_DIR", str(tmp_path / "not there"))
    mine = put(tmp_path / "mine")
    assert folders.find("a/b.txt", "mine") == mine


def test_the_default_folder_is_data(tmp_path):
    path = put(tmp_path / "data")
    assert folders.find("a/b.txt") == path


def test_a_missing_file_names_every_folder_and_the_remedy(tmp_path, monkeypatch):
    monkeypatch.setenv("MLPEFT_DATA_DIR", str(tmp_path / "named"))
    with pytest.raises(DataError) as caught:
        folders.find("a/b.txt", "mine", "do this")
    for part in ("'a/b.txt'", "named", "mine", "shared", "do this", "MLPEFT_DATA_DIR"):
        assert part in str(caught.value)


def test_new_data_goes_into_the_folder_that_is_searched_first(tmp_path, monkeypatch):
    assert folders.target_folder() == tmp_path / "data"
    assert folders.target_folder("mine") == tmp_path / "mine"
    monkeypatch.setenv("MLPEFT_DATA_DIR", str(tmp_path / "named"))
    assert folders.target_folder("mine") == tmp_path / "named"
