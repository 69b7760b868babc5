"""Locating pretrained models."""

from __future__ import annotations

from fnmatch import fnmatch
from pathlib import Path

import pytest

from mlpeft.errors import DataError
from mlpeft.models.pretrained import source
from mlpeft.models.pretrained.source import model_folder, model_path, weight_files

hub_package = pytest.importorskip(
    "huggingface_hub", reason="install it with: pip install 'mlpeft[text]'"
)


@pytest.fixture
def downloads(tmp_path, monkeypatch) -> list[dict]:
    """The downloads from the hub, which has only the model anna/tiny."""
    asked = []

    def download(repository, **settings):
        asked.append({"repository": repository, **settings})
        if repository != "anna/tiny":
            raise OSError("no network\nand more about it")
        return str(tmp_path)

    monkeypatch.setattr(hub_package, "snapshot_download", download)
    source.hub_folder.cache_clear()
    yield asked
    source.hub_folder.cache_clear()


def test_a_folder_comes_before_a_model_of_the_hub(tmp_path, monkeypatch, downloads):
    monkeypatch.chdir(tmp_path)
    Path("anna/tiny").mkdir(parents=True)
    assert model_path("anna/tiny") == Path("anna/tiny")
    assert downloads == []


def test_a_model_of_the_hub_is_downloaded_once(tmp_path, downloads):
    assert model_path("anna/tiny") == tmp_path
    assert model_folder("anna/tiny") == tmp_path
    (asked,) = downloads
    assert asked["repository"] == "anna/tiny"
    assert asked["revision"] is None


def test_a_worker_downloads_nothing_from_the_hub(downloads):
    """Its models come from the coordinator, or are already on this machine."""
    model_path("anna/tiny", download=False)
    assert downloads[0]["local_files_only"]


def test_no_code_and_no_pickles_are_downloaded(downloads):
    model_path("anna/tiny")
    patterns = downloads[0]["allow_patterns"]
    files = ("modeling.py", "pytorch_model.bin", "x/y.pkl", "a.safetensors", "c.json")
    taken = [f for f in files if any(fnmatch(f, pattern) for pattern in patterns)]
    assert taken == ["a.safetensors", "c.json"]


def test_a_revision_may_be_named(downloads):
    model_path("anna/tiny@v1.2")
    assert downloads[0]["revision"] == "v1.2"


def test_without_a_network_the_error_says_what_to_do(downloads):
    with pytest.raises(DataError, match=r"could not.*no network\).*folder") as caught:
        model_path("anna/other")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("where", ["nowhere", "./anna/tiny", "/a/b", "~/x", "a/b/c"])
def test_a_name_that_is_not_of_the_hub_is_a_missing_folder(where, downloads):
    with pytest.raises(DataError, match="no pretrained model at"):
        model_path(where)
    assert downloads == []


def test_a_gguf_file_is_a_model_but_no_folder(tmp_path):
    file = tmp_path / "m.gguf"
    file.write_bytes(b"x")
    assert model_path(str(file)) == file
    assert weight_files(str(file)) == [file]
    with pytest.raises(DataError, match="is a file"):
        model_folder(str(file))


def test_a_missing_gguf_file_is_not_searched_on_the_hub(downloads):
    with pytest.raises(DataError, match="no pretrained model at"):
        model_path("anna/tiny.gguf")
    assert downloads == []


def test_weights_may_be_in_several_files(tmp_path):
    for name in ("model-00002-of-00002", "model-00001-of-00002"):
        (tmp_path / f"{name}.safetensors").write_bytes(b"x")
    names = [file.name[:11] for file in weight_files(str(tmp_path))]
    assert names == ["model-00001", "model-00002"]


def test_a_folder_without_weights_is_an_error(tmp_path):
    with pytest.raises(DataError, match=r"no model\.safetensors"):
        weight_files(str(tmp_path))
