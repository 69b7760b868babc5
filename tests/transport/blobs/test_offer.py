"""What a coordinator offers, and that it offers nothing else."""

import hashlib
import logging

import pytest

from mlpeft.config import RunConfig
from mlpeft.errors import DataError
from mlpeft.tasks.assets import Asset, AssetKind
from mlpeft.transport.blobs.manifest import decode
from mlpeft.transport.blobs.offer import Offer


@pytest.fixture
def offer(tmp_path, monkeypatch):
    """An offer of one file and one folder with a file that may not travel."""
    monkeypatch.setenv("MLPEFT_DATA_DIR", str(tmp_path))
    (tmp_path / "omniglot.npz").write_bytes(b"0123456789")
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text("{}")
    (tmp_path / "model" / "secret.pem").write_text("secret")
    config = {
        "task_distribution": {"task_families": ["omniglot"]},
        "model": {"weights": str(tmp_path / "model")},
    }
    return Offer.of(RunConfig.from_dict(config))


def test_a_file_is_offered_by_the_digest_of_its_bytes(offer):
    asset = offer.assets[0]
    assert (asset.name, asset.size_bytes, asset.is_folder) == (
        "omniglot.npz",
        10,
        False,
    )
    assert asset.sha256 == hashlib.sha256(b"0123456789").hexdigest()
    with offer.blob(asset.sha256).open(4) as file:
        assert file.read() == b"456789"


def test_a_folder_is_offered_as_a_list_of_its_files(offer, tmp_path):
    asset = offer.assets[1]
    assert asset.is_folder
    with offer.blob(asset.sha256).open(0) as file:
        data = file.read()
    (entry,) = decode(data, Asset(asset.name, AssetKind.MODEL))
    assert entry.path == "config.json"
    with offer.blob(entry.sha256).open(0) as file:
        assert file.read() == b"{}"


def test_a_start_that_takes_a_while_says_why(offer, tmp_path, monkeypatch, caplog):
    monkeypatch.setattr("mlpeft.transport.blobs.offer.LARGE_BYTES", 10)
    config = {"task_distribution": {"task_families": ["omniglot"]}}
    with caplog.at_level(logging.INFO, "mlpeft.coordinator"):
        Offer.of(RunConfig.from_dict(config))
    assert caplog.messages == ["hashing omniglot.npz, 10 B, to offer it to workers"]


def test_what_a_package_keeps_in_another_way_is_not_offered(monkeypatch):
    """Scikit-learn may change its layout: then each worker needs its own."""
    monkeypatch.setattr("mlpeft.tasks.assets.find_spec", lambda name: None)
    config = RunConfig.from_dict({"task_distribution": {"task_families": ["digits"]}})
    assert Offer.of(config).assets == ()


def test_nothing_else_can_be_had(offer):
    assert offer.blob(hashlib.sha256(b"secret").hexdigest()) is None
    assert offer.blob("../model/secret.pem") is None


def test_a_file_that_changed_is_not_sent(offer, tmp_path):
    blob = offer.blob(offer.assets[0].sha256)
    (tmp_path / "omniglot.npz").write_bytes(b"something else")
    with pytest.raises(DataError, match="start the coordinator again with --resume"):
        blob.open(0)
    (tmp_path / "omniglot.npz").unlink()
    with pytest.raises(DataError, match="start the coordinator again"):
        blob.open(0)


def test_an_offset_behind_the_end_is_refused(offer):
    blob = offer.blob(offer.assets[0].sha256)
    with blob.open(10) as file:
        assert file.read() == b""
    with pytest.raises(DataError, match="has 10 bytes"):
        blob.open(11)
