"""A worker gets the files of a run: what it has stays, what it lacks is fetched."""

import asyncio
import logging

import pytest

from mlpeft.config import RunConfig
from mlpeft.errors import DataError, MlpeftError
from mlpeft.transport.blobs import transfer as module
from mlpeft.transport.blobs.asset_fetcher import AssetFetcher
from mlpeft.transport.blobs.cache import BlobCache
from mlpeft.transport.blobs.manifest import OfferedAsset
from mlpeft.transport.blobs.offer import Offer


class LineBrokeError(MlpeftError):
    pass


def content(blob):
    with blob.open(0) as file:
        return file.read()


class Head:
    """A coordinator's files, and a line that may break.

    Attributes:
        fetched: (label, offset) of each call.
        faults: For each call to come: break after so many pieces, or change the bytes.
    """

    def __init__(self, config):
        self.config = config
        offer = Offer.of(config)
        self.assets = offer.assets
        self.blobs = {
            sha256: (blob.label, content(blob)) for sha256, blob in offer._blobs.items()
        }
        self.fetched = []
        self.faults = []

    async def fetch(self, sha256, offset):
        label, content = self.blobs[sha256]
        self.fetched.append((label, offset))
        fault = self.faults.pop(0) if self.faults else None
        for sent, start in enumerate(range(offset, len(content), 4)):
            if fault == sent:
                raise LineBrokeError("the line broke")
            piece = content[start : start + 4]
            yield piece.upper() if fault == "other bytes" else piece
            await asyncio.sleep(0)


@pytest.fixture
def head(tmp_path, monkeypatch):
    """A coordinator with a data file of ten bytes and a model of two files.

    From here on, this machine has neither.
    """
    there = tmp_path / "head"
    (there / "model" / "1_Pooling").mkdir(parents=True)
    (there / "model" / "config.json").write_text("{}")
    (there / "model" / "1_Pooling" / "config.json").write_text("[1, 2, 3]")
    (there / "omniglot.npz").write_text("abcdefghij")
    monkeypatch.setenv("MLPEFT_DATA_DIR", str(there))
    config = {
        "task_distribution": {"task_families": ["omniglot"]},
        "model": {"weights": str(there / "model")},
    }
    made = Head(RunConfig.from_dict(config))
    monkeypatch.setenv("MLPEFT_DATA_DIR", str(tmp_path / "data"))
    there.rename(tmp_path / "elsewhere")
    return made


@pytest.fixture
def cache(tmp_path):
    made = BlobCache(tmp_path / "cache", limit_bytes=1000)
    yield made
    made.release()


def fetch(head, cache, offered=None):
    offered = head.assets if offered is None else offered
    return asyncio.run(
        AssetFetcher(cache).fetch_assets(head.config, offered, head.fetch)
    )


def test_a_machine_that_has_nothing_gets_everything(head, cache):
    paths = fetch(head, cache)
    assert paths["omniglot.npz"].read_text() == "abcdefghij"
    assert paths["omniglot.npz"].name == "omniglot.npz"
    model = paths[head.config.model.weights]
    assert (model / "config.json").read_text() == "{}"
    assert (model / "1_Pooling" / "config.json").read_text() == "[1, 2, 3]"


def test_a_file_of_the_users_own_keeps_its_name_and_one_of_the_hub_gets_one(
    cache, tmp_path, monkeypatch
):
    """Names say how a file is read."""
    hub = pytest.importorskip("datasets")
    monkeypatch.setattr(hub.config, "HF_DATASETS_CACHE", tmp_path / "hf")
    monkeypatch.setenv("MLPEFT_CACHE_DIR", str(tmp_path / "ours"))
    folder = tmp_path / "there"
    folder.mkdir()
    (folder / "train.csv").write_text("text,label\na,b\n")
    section = {"task_families": ["intents"]}
    for name, expected in (
        (str(folder / "train.csv"), "train.csv"),
        (f"hf:{folder}", "texts.jsonl"),
    ):
        params = {"dataset": name}
        config = {"task_distribution": section | {"task_params": params}}
        head = Head(RunConfig.from_dict(config))
        folder.rename(tmp_path / "gone")
        assert fetch(head, cache)[name].name == expected
        (tmp_path / "gone").rename(folder)


def test_a_second_time_comes_from_the_cache(head, cache):
    paths = fetch(head, cache)
    head.fetched.clear()
    assert fetch(head, cache) == paths
    assert head.fetched == []


def test_what_the_machine_has_is_not_fetched(head, cache, tmp_path):
    (tmp_path / "data").mkdir()
    own = tmp_path / "data" / "omniglot.npz"
    own.write_text("abcdefghij")
    paths = fetch(head, cache)
    assert paths["omniglot.npz"] == own
    assert "omniglot.npz" not in [label for label, _ in head.fetched]


def test_another_file_of_the_same_name_is_not_taken(head, cache, tmp_path, caplog):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "omniglot.npz").write_text("another")
    with caplog.at_level(logging.INFO, "mlpeft.worker"):
        paths = fetch(head, cache)
    assert paths["omniglot.npz"].read_text() == "abcdefghij"
    assert "differs from the coordinator's omniglot.npz" in caplog.text


def test_of_a_folder_only_the_files_that_lack_are_fetched(head, cache, tmp_path):
    own = tmp_path / "head" / "model"
    own.mkdir(parents=True)
    (own / "config.json").write_text("{}")
    (own / "extra.json").write_text("not of the coordinator's")
    paths = fetch(head, cache)
    model = paths[str(own)]
    assert (model / "config.json").read_text() == "{}"
    assert (model / "1_Pooling" / "config.json").read_text() == "[1, 2, 3]"
    assert not (model / "extra.json").exists()
    assert "model/config.json" not in [label for label, _ in head.fetched]


def test_a_broken_transfer_goes_on_where_it_was(head, cache):
    head.faults = [None, 2]  # the manifest comes, of omniglot.npz two pieces of four
    with pytest.raises(LineBrokeError):
        fetch(head, cache)
    head.fetched.clear()
    assert fetch(head, cache)["omniglot.npz"].read_text() == "abcdefghij"
    assert head.fetched[0] == ("omniglot.npz", 8)


def test_a_damaged_blob_is_refused_with_what_to_do(head, cache):
    head.faults = [None, "other bytes"]
    with pytest.raises(DataError, match="has another digest") as told:
        fetch(head, cache)
    assert "mlpeft data verify" in str(told.value)
    assert fetch(head, cache)["omniglot.npz"].read_text() == "abcdefghij"
    assert head.fetched[-3] == ("omniglot.npz", 0)


def test_a_damaged_beginning_is_fetched_anew(head, cache):
    head.faults = [None, 1]
    with pytest.raises(LineBrokeError):
        fetch(head, cache)
    (part,) = (cache.folder / "blobs").glob("*.part")
    part.write_text("ABCD")
    assert fetch(head, cache)["omniglot.npz"].read_text() == "abcdefghij"
    assert head.fetched[2:4] == [("omniglot.npz", 4), ("omniglot.npz", 0)]


def test_more_bytes_than_promised_are_refused(head, cache):
    first, *rest = head.assets
    short = OfferedAsset(first.name, first.sha256, 5)
    with pytest.raises(DataError, match="more than the offered 5 bytes"):
        fetch(head, cache, [short, *rest])


def test_names_that_the_configuration_does_not_have_are_not_believed(head, cache):
    stranger = OfferedAsset("../../.bashrc", head.assets[0].sha256, 10)
    assert fetch(head, cache, [stranger]) == {}
    assert head.fetched == []


def test_two_workers_of_a_machine_fetch_once(head, cache, monkeypatch):
    monkeypatch.setattr(module, "POLL_S", 0.001)

    async def both():
        other = BlobCache(cache.folder, 1000)
        try:
            return await asyncio.gather(
                *(
                    AssetFetcher(each).fetch_assets(
                        head.config, head.assets, head.fetch
                    )
                    for each in (cache, other)
                )
            )
        finally:
            other.release()

    first, second = asyncio.run(both())
    assert first == second
    assert len(head.fetched) == len(set(head.fetched)) == 4


def test_a_run_that_does_not_fit_says_how_to_raise_the_limit(head, tmp_path):
    small = BlobCache(tmp_path / "small", limit_bytes=5)
    with pytest.raises(DataError, match="MLPEFT_CACHE_GB"):
        fetch(head, small)
    small.release()


def test_a_list_of_files_without_end_is_not_fetched(head, cache):
    huge = OfferedAsset(head.config.model.weights, "a" * 64, 1 << 40, is_folder=True)
    roomy = BlobCache(cache.folder, 1 << 50)
    roomy._make_room = lambda needed: None
    with pytest.raises(DataError, match="copy the folder to this machine"):
        fetch(head, roomy, [huge])
    roomy.release()


def test_progress_is_told(head, cache, monkeypatch, caplog):
    monkeypatch.setattr(module, "LOG_S", 0.0)
    with caplog.at_level(logging.DEBUG, "mlpeft.worker"):
        fetch(head, cache)
    assert "fetching omniglot.npz, 10 B" in caplog.text
    assert "fetching omniglot.npz: 8 B of 10 B, " in caplog.text
    assert "fetched 4 files" in caplog.text


def test_a_folder_that_is_the_same_is_used_as_it_is(head, cache, tmp_path):
    (tmp_path / "elsewhere").rename(tmp_path / "head")
    own = tmp_path / "head" / "model"
    assert fetch(head, cache)[str(own)] == own
    assert [label for label, _ in head.fetched] == ["omniglot.npz"]
