"""`mlpeft data`: what it prints, what it puts where, and its exit codes."""

from __future__ import annotations

import hashlib
import json

import numpy as np
import pytest
from typer.testing import CliRunner

from mlpeft.commands import data
from mlpeft.datasets import fetch
from mlpeft.datasets.catalogue import CATALOGUE
from mlpeft.errors import DataError


@pytest.fixture(autouse=True)
def folder(monkeypatch, tmp_path):
    """An empty data folder, and no other."""
    monkeypatch.setattr("mlpeft.datasets.folders._CHECKOUT", tmp_path / "checkout")
    monkeypatch.setenv("MLPEFT_DATA_DIR", str(tmp_path / "data"))
    return tmp_path / "data"


def run(*arguments):
    result = CliRunner().invoke(data.app, arguments)
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def small_omniglot(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(
        path,
        images=np.zeros((6, 28, 28), np.uint8),
        class_names=np.array(["A/1", "B/1", "C/1"]),
        class_alphabet=np.arange(3, dtype=np.uint8),
        class_split=np.array([0, 0, 1], np.uint8),
    )
    return path


def test_list_names_families_and_data_sets():
    output = run("list").output
    for name in (*CATALOGUE, "linear_classification", "sinusoid", "missing"):
        assert name in output


def test_list_as_json_has_everything_a_script_wants():
    listed = json.loads(run("list", "--json").stdout)
    families = {one["name"]: one["task_params"] for one in listed["task_families"]}
    assert families["sinusoid"] == "amplitude, phase"
    omniglot = listed["data_sets"][0]
    assert omniglot["name"] == "omniglot"
    assert omniglot["state"] == "missing"
    assert omniglot["licence"].startswith("MIT")
    assert "Science" in omniglot["citation"]
    assert omniglot["files"] == ["omniglot.npz"]


def test_verify_fails_for_what_is_asked_for_and_missing():
    result = run("verify", "omniglot")
    assert result.exit_code == 1
    assert "missing" in result.output
    assert "mlpeft data fetch omniglot" in result.output


def test_the_folder_that_verify_is_given_comes_before_the_variable(folder, tmp_path):
    small_omniglot(folder / "omniglot.npz").write_bytes(b"PK damaged")
    small_omniglot(tmp_path / "mine" / "omniglot.npz")
    given = run("verify", "omniglot", "--data-dir", str(tmp_path / "mine"))
    assert given.exit_code == 0, given.output
    assert str(tmp_path / "mine" / "omniglot.npz") in given.output.replace("\n", "")
    assert run("verify", "omniglot").exit_code == 1


def test_verify_of_all_does_not_mind_what_is_missing():
    assert run("verify").exit_code == 0


def test_verify_tells_what_a_file_of_ones_own_holds(tmp_path):
    file = tmp_path / "tickets.csv"
    file.write_text("message,queue\na,x\nA,x\nb,x\na,y\n")
    keys = ("--text-key", "message", "--label-key", "queue")
    (found,) = json.loads(run("verify", str(file), *keys, "--json").stdout)
    assert found["state"] == "usable"
    assert found["paths"] == [str(file)]
    assert found["detail"] == (
        "3 texts of 2 labels, 1 ('y') to 2 each; copies of texts left out: 1; texts "
        "with several labels: 1, such as 'a'"
    )
    file.write_text("message,queue\na,x\n")
    (found,) = json.loads(run("verify", str(file), *keys, "--json").stdout)
    assert found["detail"] == "1 text of 1 label, 1 ('x') to 1 each"
    damaged = run("verify", str(file))
    assert damaged.exit_code == 1
    assert "it has message, queue; name them with --text-key" in damaged.output
    missing = run("verify", str(tmp_path / "gone.jsonl"))
    assert missing.exit_code == 1
    assert "no file at" in missing.output


def test_verify_tells_what_a_file_of_completions_holds(tmp_path):
    file = tmp_path / "styles.csv"
    file.write_text("task;prompt;completion\nBo;late;Ahoy\nBo;early;Arr\n")
    (found,) = json.loads(run("verify", str(file), "--json").stdout)
    assert found["detail"] == (
        "2 examples; tasks: train 1; 2 ('Bo') to 2 examples each"
    )


def test_verify_tells_what_a_folder_of_images_holds(tmp_path):
    for name in ("cat", "dog"):
        np.save(tmp_path / f"{name}.npy", np.eye(4, dtype=np.uint8)[None].repeat(2, 0))
    (tmp_path / "notes.txt").touch()
    (found,) = json.loads(run("verify", str(tmp_path), "--json").stdout)
    assert found["state"] == "usable"
    assert "2 images; classes: " in found["detail"]
    assert "copies of images left out: 2" in found["detail"]
    assert "not read: 1 .txt beside the classes" in found["detail"]
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "cat.npy").write_bytes(b"")
    damaged = run("verify", str(tmp_path / "other"))
    assert damaged.exit_code == 1
    assert "cat.npy cannot be read as an image" in damaged.output


def test_verify_fails_for_a_damaged_file_even_if_not_asked_for_it(folder):
    small_omniglot(folder / "omniglot.npz").write_bytes(b"PK damaged")
    result = run("verify", "--json")
    assert result.exit_code == 1
    states = {one["name"]: one["state"] for one in json.loads(result.output)}
    assert states["omniglot"] == "damaged"


def test_an_unknown_data_set_names_the_nearest():
    with pytest.raises(DataError, match="did you mean 'omniglot'"):
        run("verify", "omniglott")


def test_import_puts_a_file_where_it_is_found(folder, tmp_path):
    result = run("import", "omniglot", str(small_omniglot(tmp_path / "mine.npz")))
    assert result.exit_code == 0
    assert "MIT" in result.output
    assert "Lake" in result.output
    assert (folder / "omniglot.npz").is_file()
    verified = run("verify", "omniglot")
    assert verified.exit_code == 0
    assert "usable" in verified.output


def test_new_data_go_where_the_command_says_not_the_environment(folder, tmp_path):
    source = str(small_omniglot(tmp_path / "mine.npz"))
    run("import", "omniglot", source, "--data-dir", str(tmp_path / "there"))
    assert (tmp_path / "there" / "omniglot.npz").is_file()
    assert not folder.exists()


def test_a_data_dir_can_be_given(monkeypatch, tmp_path):
    monkeypatch.delenv("MLPEFT_DATA_DIR")
    there = str(tmp_path / "there")
    source = str(small_omniglot(tmp_path / "mine.npz"))
    run("import", "omniglot", source, "--data-dir", there)
    assert (tmp_path / "there" / "omniglot.npz").is_file()
    assert run("verify", "omniglot", "--data-dir", there).exit_code == 0


def test_fetch_does_not_fetch_what_is_here(folder, monkeypatch):
    small_omniglot(folder / "omniglot.npz")
    monkeypatch.setattr(fetch, "fetch", pytest.fail)
    result = run("fetch", "omniglot")
    assert result.exit_code == 0
    assert "already present" in result.output


def test_fetch_with_force_fetches_what_is_here(folder, monkeypatch):
    small_omniglot(folder / "omniglot.npz")
    asked = []

    def fake_fetch(known, into, progress):
        asked.append((known.name, into))
        progress("images_background.zip", 1, None)
        progress("images_background.zip", 2, 2)
        return folder / "omniglot.npz"

    monkeypatch.setattr(fetch, "fetch", fake_fetch)
    assert run("fetch", "omniglot", "--force").exit_code == 0
    assert asked == [("omniglot", folder)]


def test_the_official_addresses_are_encrypted_and_have_digests():
    for name, remote in fetch.OMNIGLOT_ARCHIVES.items():
        assert remote.url.startswith("https://")
        assert remote.url.endswith(f"/{name}.zip")
        assert len(remote.digest) == hashlib.new(remote.algorithm).digest_size * 2
