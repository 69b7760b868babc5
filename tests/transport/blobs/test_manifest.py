"""What a folder consists of: the same text on every machine, and nothing that runs."""

import json

import pytest

from mlpeft.errors import DataError
from mlpeft.tasks.assets import Asset, AssetKind
from mlpeft.transport.blobs.manifest import (
    Entry,
    asset_sha256,
    decode,
    encode,
    manifest_of,
)

MODEL = Asset("models/tiny", AssetKind.MODEL)
DIGEST = "a" * 64


def fill(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)
    return folder


def test_it_lists_what_may_travel_in_the_order_of_the_paths(tmp_path):
    folder = fill(tmp_path, "model.safetensors", "1_Pooling/config.json", "config.json")
    fill(folder, "evil.py", "evil.pkl", "README.md", ".hidden.json", ".git/config.json")
    paths = [entry.path for entry in manifest_of(folder, MODEL)]
    assert paths == ["1_Pooling/config.json", "config.json", "model.safetensors"]


def test_the_digest_of_a_folder_is_that_of_names_and_bytes(tmp_path):
    one = fill(tmp_path / "one", "config.json", "a.txt")
    other = fill(tmp_path / "other", "a.txt", "config.json", "ignored.py")
    assert asset_sha256(MODEL, one) == asset_sha256(MODEL, other)
    (other / "a.txt").write_text("changed")
    assert asset_sha256(MODEL, one) != asset_sha256(MODEL, other)


def test_a_folder_without_any_such_file_is_an_error(tmp_path):
    with pytest.raises(DataError, match="has no files that end in"):
        manifest_of(fill(tmp_path, "notes.md"), MODEL)


def test_a_manifest_that_travelled_is_the_same():
    entries = (Entry("config.json", 3, DIGEST), Entry("ä b/x.json", 0, DIGEST))
    assert decode(encode(entries), MODEL) == entries


@pytest.mark.parametrize(
    "path",
    [
        "../config.json",
        "/etc/config.json",
        "a/../../config.json",
        ".ssh/config.json",
        "a//config.json",
        "a\\..\\config.json",
        "a/b/c/d/config.json",
        "config.py",
        "config\n.json",
        "",
        7,
    ],
)
def test_a_path_from_the_wire_cannot_leave_its_folder(path):
    with pytest.raises(DataError, match="refused"):
        decode(json.dumps([[path, 1, DIGEST]]).encode(), MODEL)


@pytest.mark.parametrize(
    "data",
    [
        b"\xff",
        b"{}",
        b"[]",
        b"[[",
        b"7",
        b"[7]",
        b'[["a.json", 1]]',
        b'[["a.json", -1, "%s"]]' % DIGEST.encode(),
        b'[["a.json", 1, "short"]]',
        b'[["a.json", 1, null]]',
    ],
)
def test_what_is_no_manifest_is_refused(data):
    with pytest.raises(DataError):
        decode(data, MODEL)
