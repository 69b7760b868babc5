"""A worker against a coordinator that sends anything: it says what is wrong.

It never ends in a traceback, never hangs, and touches no file outside of its cache.
"""

import asyncio
import hashlib
import json
import logging
import subprocess
import sys
import threading

import grpc
import grpc.aio
import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

from mlpeft.cluster import protocol as p
from mlpeft.cluster.protocol import LeaseKey
from mlpeft.runtime.compute import Prepared, prepare
from mlpeft.runtime.worker.grpc_link import GrpcLink
from mlpeft.transport.blobs.asset_fetcher import AssetFetcher
from mlpeft.transport.blobs.cache import BlobCache
from mlpeft.transport.blobs.manifest import OfferedAsset
from mlpeft.transport.rpc import blob_codec, channel, codec, join_codec
from tests.runtime.toy import ToyRunner, toy_worker
from tests.transport.rpc.hostile import Frame, down_frames, spoiled

PATIENCE_S = 100
"""Longest wait for anything; only a failure waits so long."""
KEY = LeaseKey("session", 1, 0, 1)
ENOUGH = "that was enough"


class Hostile:
    """Answers as it was told, once; then it refuses the worker.

    Attributes:
        joined: The answer to Join.
        sent: Frames of the stream of work.
        pieces: Frames of every range of every file; or its bytes, honestly served.
        silent: Whether the stream of work stays open when all was sent.
    """

    async def start(self):
        self._server = grpc.aio.server(options=channel.OPTIONS)
        handlers = {
            "Join": grpc.unary_unary_rpc_method_handler(self._join),
            "Work": grpc.stream_stream_rpc_method_handler(self._work),
            "FetchBlob": grpc.unary_stream_rpc_method_handler(self._fetch),
        }
        self._server.add_generic_rpc_handlers(
            [grpc.method_handlers_generic_handler(channel.SERVICE, handlers)]
        )
        port = self._server.add_insecure_port("127.0.0.1:0")
        await self._server.start()
        self.address = f"127.0.0.1:{port}"

    async def stop(self):
        await self._server.stop(0)

    def arm(self, joined=None, sent=(), pieces=(), *, silent=False):
        self.joined = answer() if joined is None else joined
        self.sent, self.pieces, self.silent = sent, pieces, silent
        self._joins = 0

    async def _join(self, _data, context):
        self._joins += 1
        if self._joins > 1:
            await context.abort(grpc.StatusCode.FAILED_PRECONDITION, ENOUGH)
        return bytes(self.joined)

    async def _work(self, _requests, context):
        for frame in self.sent:
            await context.write(bytes(frame))
        if self.silent:
            await asyncio.get_running_loop().create_future()

    async def _fetch(self, data, context):
        if isinstance(self.pieces, bytes):
            request = blob_codec.decode_request(data)
            end = request.offset + request.most_bytes
            if piece := self.pieces[request.offset : end]:
                await context.write(blob_codec.encode_piece(piece))
            return
        for frame in self.pieces:
            await context.write(bytes(frame))


def answer(config="{}", assets=()):
    """A good answer to Join, if the configuration is one."""
    response = join_codec.JoinResponse("id", "session", config, tuple(assets))
    return join_codec.encode_join_response(response)


@pytest.fixture
def besiege():
    """Run a worker against a coordinator that is armed so; how the worker ended."""
    hostile = Hostile()
    with asyncio.Runner() as runner:
        runner.run(hostile.start())

        async def work(options):
            async with asyncio.timeout(PATIENCE_S):
                return await toy_worker(GrpcLink(hostile.address), **options).run()

        def besieged(*, prepare=toy, fetch_assets=None, welcome_s=30.0, **armed):
            hostile.arm(**armed)
            options = {
                "prepare": prepare,
                "fetch_assets": fetch_assets,
                "welcome_s": welcome_s,
            }
            return runner.run(work(options))

        yield besieged
        runner.run(hostile.stop())


def toy(_config):
    return Prepared(ToyRunner(), "toy", "same view")


def test_any_frames_of_work_break_the_connection_and_no_more(besiege):
    """Garbage, thetas of exabytes, leases without theta; every order."""

    @given(st.lists(down_frames(KEY), max_size=8))
    @settings(max_examples=60, deadline=None)
    def run(sent):
        stop = besiege(sent=sent)
        assert stop.reason.startswith((ENOUGH, "run over: ", "drained: "))

    run()


def test_any_answer_to_join_is_understood_or_refused(besiege):
    assets = [OfferedAsset("a.npz", "a" * 64, 10), OfferedAsset("b", "b" * 64, 2, True)]
    good = [Frame(answer(assets=assets)), Frame(answer("{}")), Frame(answer("a: ["))]

    @given(st.one_of(spoiled(good)))
    @settings(max_examples=60, deadline=None)
    def run(joined):
        stop = besiege(joined=joined)
        assert stop.failed
        assert stop.reason.startswith((ENOUGH, "this worker cannot take part"))

    run()


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        ("a: " + "[" * 5000 + "]" * 5000, "not valid YAML"),
        ("run: {seed: 2020-13-45}", "not valid YAML: month must be in 1..12"),
        (f"run: {{seed: {'9' * 5000}}}", "not valid YAML"),
        ("run: {seed: [1]}", "run.seed"),
        ('model: {backbone: encoder, weights: "a\\0b"}', "no pretrained model at"),
        ("model: {backbone: custom.evil:make}", "--allow-module"),
    ],
    ids=["deep", "date", "digits", "kind", "null byte", "module"],
)
def test_a_configuration_that_cannot_be_is_refused_in_words(besiege, config, reason):
    def in_earnest(config):
        return prepare(config, allow_modules=())

    stop = besiege(joined=answer(config), prepare=in_earnest)
    assert stop.failed
    assert stop.reason.startswith("this worker cannot take part in the run: ")
    assert reason in stop.reason


OMNIGLOT = "task_distribution: {task_families: [omniglot]}"
CONTENT = b"content"
DIGEST = hashlib.sha256(CONTENT).hexdigest()


SIZE = len(CONTENT)


def offered(sha256, size=SIZE, *, is_folder=False):
    """An answer to Join with an asset that the run wants."""
    asset = OfferedAsset("omniglot.npz", sha256, size, is_folder)
    return answer(OMNIGLOT, [asset])


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("MLPEFT_DATA_DIR", str(tmp_path / "nothing"))
    cache = BlobCache(tmp_path / "cache", 10**6)
    yield cache
    cache.release()


@pytest.mark.parametrize("sha256", ["../../victim", "", "..", "A" * 64, "a" * 63 + "/"])
def test_a_digest_that_is_a_path_is_none(besiege, cache, sha256, tmp_path):
    """The cache would have removed a file of that name, for having another digest."""
    victim = tmp_path / "victim"
    victim.write_text("precious")
    stop = besiege(
        joined=offered(sha256), fetch_assets=AssetFetcher(cache).fetch_assets
    )
    assert stop.reason == ENOUGH
    assert victim.read_text() == "precious"


PIECE = blob_codec.encode_piece(CONTENT)


@pytest.mark.parametrize(
    ("pieces", "size", "reason"),
    [
        ([PIECE, PIECE], 7, "more than the offered 7 bytes"),
        ([PIECE], 8, "has another digest"),
        ([], 7, "has another digest"),
        ([b"\xff"], 7, ENOUGH),
        ([b""], 7, ENOUGH),
        ([PIECE], 2**63, "may hold"),
    ],
    ids=["too much", "too little", "nothing", "garbage", "empty", "exabytes"],
)
def test_a_file_that_is_not_what_was_promised_is_not_kept(
    besiege, cache, pieces, size, reason
):
    joined = offered("a" * 64 if size != 7 else DIGEST, size)
    stop = besiege(
        joined=joined, pieces=pieces, fetch_assets=AssetFetcher(cache).fetch_assets
    )
    assert stop.failed
    assert reason in stop.reason
    kept = [path.name for path in (cache.folder / "blobs").iterdir()]
    assert DIGEST not in kept


def listing(rows):
    return rows.encode() if isinstance(rows, str) else json.dumps(rows).encode()


@pytest.mark.parametrize(
    "rows",
    [
        [["../../victim.npz", 7, DIGEST]],
        [["a.npz", 7, "../../victim"]],
        [["a.npz", -1, DIGEST]],
        [["a.npz"]],
        [],
        "[" * 5000,
        "not JSON",
    ],
    ids=["path", "digest", "size", "short", "none", "deep", "text"],
)
def test_a_list_of_files_that_leads_elsewhere_is_refused(besiege, cache, rows):
    data = listing(rows)
    joined = offered(hashlib.sha256(data).hexdigest(), len(data), is_folder=True)
    stop = besiege(
        joined=joined, pieces=data, fetch_assets=AssetFetcher(cache).fetch_assets
    )
    assert stop.failed
    assert "omniglot.npz" in stop.reason


@pytest.mark.parametrize(
    ("messages", "reason"),
    [
        ([p.Notice("hello"), p.Welcome(0.05)], "the first message of a stream must be"),
        ([p.Welcome(0.05), p.Welcome(0.05)], "a second Welcome on one stream"),
    ],
)
def test_a_stream_begins_with_one_welcome(besiege, caplog, messages, reason):
    sent = [frame for message in messages for frame in codec.encode_down(message)]
    with caplog.at_level(logging.INFO, "mlpeft.worker"):
        assert besiege(sent=sent).reason == ENOUGH
    assert f"the coordinator broke the protocol: {reason}" in caplog.text


def test_a_coordinator_that_never_says_welcome_is_not_waited_for(besiege):
    stop = besiege(silent=True, welcome_s=0.05)
    assert stop.reason == ENOUGH


def test_the_command_ends_with_one_clear_message(tmp_path):
    """The process: exit code 2, no traceback, nothing that moves the cursor."""
    hostile = Hostile()
    hostile.arm(answer('model: {backbone: encoder, weights: "a\\0b"}'))
    loop = asyncio.new_event_loop()
    loop.run_until_complete(hostile.start())
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        done = subprocess.run(
            [sys.executable, "-m", "worker.cli", "--coordinator", hostile.address],
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=False,
            cwd=tmp_path,
        )
    finally:
        asyncio.run_coroutine_threadsafe(hostile.stop(), loop).result(PATIENCE_S)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
    assert done.returncode == 2, done.stderr
    assert "worker ends: this worker cannot take part in the run" in done.stderr
    assert "/a?b;" in done.stderr, "what steers a terminal is not printed"
    assert "Traceback" not in done.stderr
