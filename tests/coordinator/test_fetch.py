"""A worker that has neither data nor weights gets them from its coordinator."""

import gzip
import hashlib
import json
import os

import grpc
import grpc.aio
import numpy as np
import pytest

from mlpeft.runtime.coordinator.driver import CoordinatorDriver
from mlpeft.runtime.coordinator.server import Server
from mlpeft.runtime.worker.grpc_link import GrpcLink
from mlpeft.runtime.worker.link import LinkLostError, LinkRefusedError
from mlpeft.transport.blobs.manifest import OfferedAsset
from mlpeft.transport.blobs.offer import Blob, Offer
from mlpeft.transport.rpc import join_codec
from mlpeft.transport.security.authority import Authority
from tests.models.pretrained import tiny
from tests.runtime.toy import CONFIG, VERSIONS, bounded
from tests.runtime.worker.test_seeking_link import identity_of

CONTENT = bytes(range(256)) * 12_000
"""Three pieces of 1 MiB, nearly."""
DIGEST = hashlib.sha256(CONTENT).hexdigest()


REQUEST = join_codec.JoinRequest(1, VERSIONS.mlpeft, VERSIONS.mlx, "ada", "process")


class Served:
    """A coordinator that offers one file, and a link that has joined it."""

    def __init__(self, folder):
        self.path = folder / "data.npz"
        self.path.write_bytes(CONTENT)
        modified_ns = self.path.stat().st_mtime_ns
        self.offer = Offer(
            (OfferedAsset("data.npz", DIGEST, len(CONTENT)),),
            {
                DIGEST: Blob(
                    "data.npz", len(CONTENT), self.path, modified_ns=modified_ns
                )
            },
        )

    async def __aenter__(self):
        self.driver = CoordinatorDriver(CONFIG, "same view", VERSIONS, self.offer)
        self.server = Server(self.driver)
        self.link = GrpcLink(await self.server.start("127.0.0.1", 0))
        self.joined = await self.link.join(REQUEST)
        return self

    async def __aexit__(self, *_):
        self.driver.end("done")
        await self.link.close()
        await self.server.stop(5)

    async def fetch(self, sha256=DIGEST, offset=0, worker_id=None):
        worker_id = worker_id or self.joined.worker_id
        return [piece async for piece in self.link.fetch(worker_id, sha256, offset)]


def test_the_join_says_what_can_be_fetched(tmp_path):
    async def scenario():
        async with Served(tmp_path) as served:
            return served.joined.assets

    assert bounded(scenario()) == (OfferedAsset("data.npz", DIGEST, len(CONTENT)),)


@pytest.mark.parametrize("offset", [0, 1, 2_000_000, len(CONTENT), 4_000_000])
def test_a_blob_comes_from_any_offset_on_in_small_pieces(tmp_path, offset):
    async def scenario():
        async with Served(tmp_path) as served:
            return await served.fetch(offset=offset)

    pieces = bounded(scenario())
    assert b"".join(pieces) == CONTENT[offset:]
    assert max(map(len, pieces), default=0) <= 1 << 20


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"worker_id": "stranger"}, "'stranger' has not joined"),
        ({"sha256": "../../etc/passwd"}, "a file that this run does not have"),
        ({"sha256": "a" * 64}, "a file that this run does not have"),
    ],
)
def test_nothing_else_can_be_fetched(tmp_path, changes, reason):
    async def scenario():
        async with Served(tmp_path) as served:
            with pytest.raises(LinkLostError, match=reason):
                await served.fetch(**changes)

    bounded(scenario())


def test_a_file_that_changed_is_not_sent_and_the_worker_waits(tmp_path):
    async def scenario():
        async with Served(tmp_path) as served:
            served.path.write_bytes(b"another")
            with pytest.raises(LinkLostError, match="start the coordinator again"):
                await served.fetch()

    bounded(scenario())


def test_a_file_that_is_fetched_in_ranges_is_logged_once(tmp_path, caplog):
    caplog.set_level("INFO", logger="mlpeft.coordinator")

    async def scenario():
        async with Served(tmp_path) as served:
            await served.fetch()

    bounded(scenario())
    assert caplog.text.count("worker ada fetches data.npz") == 1


def test_garbage_instead_of_a_request_is_an_invalid_argument(tmp_path):
    async def scenario():
        async with Served(tmp_path) as served:
            call = served.link._channel.unary_stream("/mlpeft.rpc.Cluster/FetchBlob")
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await call(b"\xff").read()
            return caught.value.code()

    assert bounded(scenario()) is grpc.StatusCode.INVALID_ARGUMENT


def test_a_coordinator_that_goes_away_breaks_the_transfer(tmp_path):
    """The file is larger than what a connection holds on its way."""
    size = 256 << 20
    with (tmp_path / "large.npz").open("wb") as file:
        file.truncate(size)
    modified_ns = (tmp_path / "large.npz").stat().st_mtime_ns
    large = Blob("large.npz", size, tmp_path / "large.npz", modified_ns=modified_ns)

    async def scenario():
        async with Served(tmp_path) as served:
            served.offer._blobs["large"] = large
            pieces = served.link.fetch(served.joined.worker_id, "large", 0)
            assert await anext(pieces)
            await served.server.stop(0)
            with pytest.raises(LinkLostError):
                _ = [piece async for piece in pieces]

    bounded(scenario())


def test_a_worker_that_is_shut_out_gets_no_more_of_a_file(tmp_path):
    """Revoked in the middle of a transfer, under certificates on both sides."""
    size = 256 << 20
    with (tmp_path / "large.npz").open("wb") as file:
        file.truncate(size)
    modified_ns = (tmp_path / "large.npz").stat().st_mtime_ns
    offer = Offer(
        (),
        {"large": Blob("large", size, tmp_path / "large.npz", modified_ns=modified_ns)},
    )

    async def scenario():
        authority = Authority.create(tmp_path / "ca", ["127.0.0.1"])
        ada = identity_of(authority, tmp_path / "ada", "ada")
        driver = CoordinatorDriver(CONFIG, "same view", VERSIONS, offer)
        server = Server(driver, authority)
        link = GrpcLink(await server.start("127.0.0.1", 0), ada)
        joined = await link.join(REQUEST)
        pieces = link.fetch(joined.worker_id, "large", 0)
        await anext(pieces)
        authority.revoke("ada")
        with pytest.raises(LinkRefusedError, match="revoked"):
            _ = [piece async for piece in pieces]
        await link.close()
        driver.end("done")
        await server.stop(0)

    bounded(scenario())


# --- whole runs with real processes ---------------------------------------------------

SMALL = (
    "--set=task_distribution.num_classes=3",
    "--set=task_distribution.k_shot=1",
    "--set=task_distribution.query_size=3",
    "--set=meta_learning.num_meta_iterations=3",
    "--set=meta_learning.meta_batch_size=2",
)


def alone_with_nothing(cluster, tmp_path, *overrides):
    """Run with one worker that has no data, no weights and an empty cache."""
    coordinator = cluster.coordinator(*overrides)
    cluster.worker_folder = tmp_path / "elsewhere"
    cluster.worker_folder.mkdir()
    worker = cluster.worker("ada", "--once", MLPEFT_DATA_DIR=str(tmp_path / "nothing"))
    assert coordinator.end() == 0, coordinator.text + worker.text
    assert worker.end() == 0, worker.text
    return worker.text


def test_a_worker_without_data_trains_omniglot_to_the_same_bytes(
    cluster, serial_theta, tmp_path, monkeypatch
):
    monkeypatch.setenv("MLPEFT_DATA_DIR", str(tmp_path / "data"))
    (tmp_path / "data").mkdir()
    rng = np.random.default_rng(0)
    np.savez_compressed(
        tmp_path / "data" / "omniglot.npz",
        images=rng.integers(0, 256, (14 * 8, 28, 28)).astype(np.uint8),
        class_names=np.array([f"A{index}/c" for index in range(14)]),
        class_alphabet=np.array([*range(5), 5, 5, 5, 5, *range(6, 11)], np.uint8),
        class_split=np.array([0] * 9 + [1] * 5, np.uint8),
    )
    overrides = ("--set=task_distribution.task_families=[omniglot]", *SMALL)
    said = alone_with_nothing(cluster, tmp_path, *overrides)
    assert "fetched 1 file" in said
    assert cluster.theta(3) == serial_theta(*overrides)


def test_a_worker_without_weights_trains_an_encoder_to_the_same_bytes(
    cluster, serial_theta, tmp_path, monkeypatch
):
    """Texts, class splits, tokenizer and weights come; the model's path is not there.

    The worker is started where the coordinator's relative path leads nowhere.
    """
    monkeypatch.setenv("MLPEFT_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.chdir(cluster.folder)
    write_intents(tmp_path / "data" / "intents")
    tiny.write(cluster.folder / "encoder")
    tiny.write_tokenizer(cluster.folder / "encoder", "red", "green", "a")
    overrides = (
        "--set=task_distribution.task_families=[intents]",
        "--set=task_distribution.input_dim=16",
        "--set=model.backbone=encoder",
        "--set=model.weights=encoder",
        "--set=peft.method=lora",
        *SMALL,
    )
    said = alone_with_nothing(cluster, tmp_path, *overrides)
    assert "fetched 6 files" in said
    assert cluster.theta(3) == serial_theta(*overrides)


def write_intents(folder):
    """Nine intents of eight utterances."""
    folder.mkdir(parents=True)
    labels = [f"intent_{number}" for number in range(9)]
    rows = [
        json.dumps({"text": f"red {'a ' * number} green {length}", "label": label})
        for number, label in enumerate(labels)
        for length in range(8)
    ]
    text = "\n".join(rows).encode()
    (folder / "clinc150.jsonl.gz").write_bytes(gzip.compress(text))
    split = {"train": labels[:3], "valid": labels[3:6], "test": labels[6:]}
    splits = {"splits": {"01": split}}
    (folder / "clinc150_splits.json").write_text(json.dumps(splits))


def test_workers_get_a_data_set_of_the_hub_and_the_users_own_class_splits(
    cluster, serial_theta, tmp_path, monkeypatch
):
    """Two workers without the package `datasets`, where relative paths lead nowhere.

    A folder stands for the driver: the package reads both in the same way.
    """
    driver = pytest.importorskip("datasets")
    monkeypatch.setattr(
        driver.config, "HF_DATASETS_CACHE", tmp_path / "hf" / "datasets"
    )
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.setenv("MLPEFT_CACHE_DIR", str(tmp_path / "serial"))
    monkeypatch.chdir(cluster.folder)
    write_own_intents(cluster.folder)
    tiny.write(cluster.folder / "encoder")
    tiny.write_tokenizer(cluster.folder / "encoder", "red", "green", "a")
    params = "dataset: 'hf:queues', class_splits: splits.json, class_split: mine"
    overrides = (
        "--set=task_distribution.task_families=[intents]",
        f"--set=task_distribution.task_params={{{params}}}",
        "--set=task_distribution.input_dim=16",
        "--set=model.backbone=encoder",
        "--set=model.weights=encoder",
        "--set=peft.method=lora",
        *SMALL,
        "--set=cluster.min_workers=2",
    )
    coordinator = cluster.coordinator(*overrides)
    cluster.worker_folder = tmp_path / "elsewhere"
    cluster.worker_folder.mkdir()
    (tmp_path / "none").mkdir()
    (tmp_path / "none" / "datasets.py").write_text("raise ImportError('not here')")
    path = os.pathsep.join([str(tmp_path / "none"), os.environ.get("PYTHONPATH", "")])
    workers = [
        cluster.worker(
            name, "--once", MLPEFT_CACHE_DIR=str(tmp_path / name), PYTHONPATH=path
        )
        for name in ("ada", "bob")
    ]
    assert coordinator.end() == 0, coordinator.text
    for worker in workers:
        assert worker.end() == 0, worker.text
        assert "fetched 6 files" in worker.text
    assert cluster.theta(3) == serial_theta(*overrides)


def write_own_intents(folder):
    """Nine queues of eight messages, and a file that says who gets which."""
    queues = [f"queue_{number}" for number in range(9)]
    rows = [
        json.dumps({"text": f"red {'a ' * number} {'red ' * length}", "label": queue})
        for number, queue in enumerate(queues)
        for length in range(8)
    ]
    (folder / "queues").mkdir()
    (folder / "queues" / "train.jsonl").write_text("\n".join(rows))
    split = {"train": queues[:3], "valid": queues[3:6], "test": queues[6:]}
    (folder / "splits.json").write_text(json.dumps({"splits": {"mine": split}}))
